"use strict";
// The report as it is asked for: where events lie, which arrows there are, what an agent held at an instant.

const SECOND = 1e9;

function formatTime(ns) {
  const short = (value) => String(Number(value.toPrecision(6)));
  if (ns % 1000 && ns < 1000) return `${ns} ns`;
  if (ns < 1e6) return `${short(ns / 1e3)} us`;
  if (ns < SECOND) return `${Number((ns / 1e6).toFixed(3))} ms`;
  return `${Number((ns / SECOND).toFixed(ns < 1e12 ? 6 : 3))} s`;
}

class Model {
  constructor(report) {
    this.report = report;
    this.events = report.events;
    this.agents = report.agents;
    this.laneOf = new Map(this.agents.map((name, lane) => [name, lane]));
    this.messages = new Map(report.messages.map((message) => [message.uid, message]));
    this.placeOf = new Map(this.events.map((event, place) => [event.index, place]));
    this.present = new Set(this.events.flatMap((event) => this.touchedBy(event)));
    this.arrows = this.findArrows();
    this.texts = this.events.map((event) => this.textOf(event).toLowerCase());
    this.lives = this.findLives();
    this.changes = this.sortChanges();
    this.checkpoints = new Map();
    this.spans = report.spans.map((span) => ({
      ...span,
      from: this.placeAt(span.from_ns, true),
      to: span.to_ns === null ? this.events.length : this.placeAt(span.to_ns, true),
    }));
    this.violations = report.violations.map((violation) => ({ ...violation, place: this.placeAt(violation.at_ns, false) }));
    this.errors = this.events.map((event, place) => place).filter((place) => this.events[place].kind === "error");
    this.deviations = report.deviations.map((deviation) => ({ ...deviation, place: this.anchorOf(deviation.label) }));
    this.deviating = new Map();
    this.deviations.forEach((deviation, number) => {
      if (deviation.place !== null) this.deviating.set(this.events[deviation.place].message ?? `e${deviation.place}`, number + 1);
    });
  }

  // The first event at or after an instant, or the last one at or before it.
  placeAt(ns, first) {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const before = first ? this.events[middle].at_ns < ns : this.events[middle].at_ns <= ns;
      if (before) low = middle + 1; else high = middle;
    }
    return first ? low : Math.max(0, low - 1);
  }

  touchedBy(event) {
    const message = event.message === null ? null : this.messages.get(event.message);
    if (message) return [message.sender, message.recipient];
    return event.kind === "rule" ? [] : [event.agent];  // a rule is the network's
  }

  findArrows() {
    const sent = new Map();
    const arrived = new Map();
    const arrows = [];
    this.events.forEach((event, place) => {
      const uid = event.message;
      if (uid === null) return;
      const message = this.messages.get(uid);
      if (event.kind === "send") sent.set(uid, place);
      if (event.kind === "receive" || event.kind === "lost") {
        const times = (arrived.get(uid) || 0) + 1;
        arrived.set(uid, times);
        const fate = event.kind === "lost" ? "lost" : times > 1 ? "copy" : "delivered";
        arrows.push({ message, fate, from: sent.has(uid) ? sent.get(uid) : null, to: place });
      }
    });
    for (const [uid, place] of sent) {
      if (!arrived.has(uid)) {
        const message = this.messages.get(uid);
        arrows.push({ message, fate: message.held_at_ns === null ? "open" : "held", from: place, to: null });
      }
    }
    return arrows;
  }

  headline(event) {
    const message = event.message === null ? null : this.messages.get(event.message);
    if (!message) return event.words || event.kind;
    const direction = event.kind === "receive" ? `from ${message.sender}` : event.kind === "send" ? `to ${message.recipient}` : message.id;
    return `${event.kind} ${message.type} ${direction} ${message.payload === "None" ? "" : message.payload}`.trim();
  }

  textOf(event) {
    const message = event.message === null ? null : this.messages.get(event.message);
    const detail = Object.entries(event.detail).map(([key, value]) => `${key} ${value}`).join(" ");
    const parts = [formatTime(event.at_ns), event.agent, event.kind, event.words, detail];
    if (message) parts.push(message.id, message.type, message.channel, message.payload);
    return parts.join(" ");
  }

  findLives() {
    const lives = new Map(this.agents.map((name) => [name, []]));
    const say = {
      start: () => ["running", ""], restart: () => ["running again", ""], resume: () => ["running", ""],
      pause: () => ["paused", "warn"], crash: () => ["crashed", "bad"], stop: () => ["stopped at the end", ""],
      return: (event) => [event.detail[""] === "null" ? "returned" : `returned ${event.detail[""] ?? ""}`, ""], error: (event) => [event.words.replace(/^error /, ""), "bad"],
    };
    this.events.forEach((event, place) => {
      if (say[event.kind] && lives.has(event.agent)) lives.get(event.agent).push([place, ...say[event.kind](event)]);
    });
    return lives;
  }

  lifeOf(agent, place) {
    let found = ["", ""];
    for (const [at, words, tone] of this.lives.get(agent)) {
      if (at > place) break;
      found = [words, tone];
    }
    return found;
  }

  sortChanges() {
    const changes = new Map(this.agents.map((name) => [name, []]));
    for (const change of this.report.states.changes) changes.get(change.agent)?.push(change);
    return changes;
  }

  // What an agent held once the event at `place` and its step were done: a map from "section/name" to text.
  stateOf(agent, place) {
    const changes = this.changes.get(agent);
    const upto = place < 0 ? -1 : this.events[place].index;
    let low = 0;
    let high = changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (changes[middle].since <= upto) low = middle + 1; else high = middle;
    }
    const every = 128;
    const kept = this.checkpoints.get(agent) || [new Map()];
    this.checkpoints.set(agent, kept);
    while (kept.length * every <= low) {
      const state = new Map(kept[kept.length - 1]);
      for (let at = (kept.length - 1) * every; at < kept.length * every; at++) Model.apply(state, changes[at]);
      kept.push(state);
    }
    const start = Math.floor(low / every);
    const state = new Map(kept[start]);
    for (let at = start * every; at < low; at++) Model.apply(state, changes[at]);
    return state;
  }

  static apply(state, change) {
    for (const name of change.gone) state.delete(name);
    for (const name of Object.keys(change.held)) state.set(name, change.held[name]);
  }

  // Whether the event at `one` can have influenced the one at `other`.
  isInPast(one, other) {
    const first = this.events[one].clock;
    const second = this.events[other].clock;
    if (!first || !second) return one === other;
    const lane = this.laneOf.get(this.events[one].agent);
    return second[lane] >= first[lane];
  }

  otherEnd(place) {
    const uid = this.events[place].message;
    if (uid === null) return null;
    const arrow = this.arrows.find((each) => each.message.uid === uid && each.from !== null && each.to !== null);
    if (!arrow) return null;
    return this.events[place].kind === "send" ? arrow.to : arrow.from;
  }

  // The event that a deviation is about, by the label of its choice.
  anchorOf(label) {
    const match = /^(\S+) (.*?) ?#(\d+)$/s.exec(label);
    if (!match) return null;
    const [, site, where, number] = match;
    const find = (test) => {
      const place = this.events.findIndex(test);
      return place < 0 ? null : place;
    };
    if (site === "deliver") {
      const id = `${where} #${number}`;
      return find((event) => event.message !== null && this.messages.get(event.message).id === id);
    }
    if (site === "partition") return find((event) => event.kind === "rule" && event.at_ns >= Number(number) * 1e8);
    return find((event) => event.kind === site && event.agent === where && (event.detail.step ?? number) === number);
  }

  failurePlace() {
    if (this.violations.length) return this.violations[0].place;
    if (this.errors.length) return this.errors[this.errors.length - 1];
    return this.events.length ? this.events.length - 1 : null;
  }
}

// Which events are shown, and where they lie.
class View {
  constructor(model) {
    this.model = model;
    this.hidden = { agents: new Set(), channels: new Set(), kinds: new Set() };
    this.onlyDecisive = false;
    this.pastOf = null;
    this.query = "";
    this.byTime = false;
    this.update();
  }

  isShown(event) {
    const message = event.message === null ? null : this.model.messages.get(event.message);
    if (this.hidden.kinds.has(event.kind) || this.hidden.agents.has(event.agent)) return false;
    if (message && (this.hidden.channels.has(message.channel) || this.hidden.agents.has(message.sender) || this.hidden.agents.has(message.recipient))) return false;
    return !(this.onlyDecisive && event.decisive === false);
  }

  update() {
    const { events, agents } = this.model;
    this.lanes = agents.filter((name) => this.model.present.has(name) && !this.hidden.agents.has(name));
    this.shown = [];
    this.ranks = new Float64Array(events.length + 1);
    events.forEach((event, place) => {
      this.ranks[place] = this.shown.length;
      if (this.isShown(event)) this.shown.push(place);
    });
    this.ranks[events.length] = this.shown.length;
    const first = this.shown.length ? events[this.shown[0]].at_ns : 0;
    const last = this.shown.length ? events[this.shown[this.shown.length - 1]].at_ns : 1;
    this.firstTime = first;
    this.nsPerColumn = Math.max(1, last - first) / Math.max(1, this.shown.length - 1);
    this.arrows = this.model.arrows.filter((arrow) => {
      const place = arrow.to === null ? arrow.from : arrow.to;
      return this.isShown(this.model.events[place]);
    });
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    this.matches = words.length ? this.shown.filter((place) => words.every((word) => this.model.texts[place].includes(word))) : null;
    this.matching = this.matches ? new Set(this.matches) : null;
  }

  position(place) {
    if (!this.byTime) return this.ranks[place];
    const { events } = this.model;
    if (place >= events.length) return (events[events.length - 1].at_ns - this.firstTime) / this.nsPerColumn + 1;
    return (events[place].at_ns - this.firstTime) / this.nsPerColumn;
  }

  isAside(place) {
    if (this.matching && !this.matching.has(place)) return true;
    if (this.pastOf !== null) return !this.model.isInPast(place, this.pastOf);
    return this.model.events[place].decisive === false;
  }

  listed() {
    return this.matches || this.shown;
  }

  // The shown event nearest to a position, going by order.
  nearest(position) {
    let low = 0;
    let high = this.shown.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.position(this.shown[middle]) < position) low = middle + 1; else high = middle;
    }
    if (low > 0 && position - this.position(this.shown[low - 1]) < this.position(this.shown[low]) - position) low--;
    return low;
  }
}
