// What stands beside the timeline: the list of events, the inspector, the filters, the explanation. Text goes in as text only.

const CHANNEL_ORDER = ["user", "pattern", "sync", "handoff", "conflict", "ack"];
const ROW = 26;

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const child of children) element.append(child);
  return element;
}

function fill(id, ...children) {
  const element = document.getElementById(id);
  element.replaceChildren(...children);
  return element;
}

// -- head ------------------------------------------------------------------------------------------------------------

function showHead(model, select) {
  const { report } = model;
  document.title = `${report.test} · convergence report`;
  fill("test", report.test);
  const [sentence] = report.failure.split("\n");
  fill("failure", sentence);
  const fact = (name, value) => make("li", "", `${name} `, make("b", "", String(value)));
  const facts = [fact("session", report.session.state), fact("schedule", report.session.schedule)];
  if (report.session.pattern !== "none") facts.unshift(fact("pattern", report.session.pattern));
  facts.push(fact("virtual time", formatTime(report.end_ns)), fact("events", report.events.length), fact("messages", report.messages.length));
  if (report.dropped) facts.push(fact("earlier events left out", report.dropped));
  fill("facts", ...facts);
  fill("explanation", report.explanation);
  showDeviations(model, select);
  showViolations(model, select);
}

function showDeviations(model, select) {
  const { report } = model;
  const parts = [];
  if (!model.deviations.length) {
    const known = report.is_minimal !== null;
    parts.push(make("p", "", known ? "Nothing needs to go wrong: it fails under the calm schedule, in order and without faults."
      : "The failure was not reduced: this is the run as it failed."));
  }
  model.deviations.forEach((deviation, number) => {
    const words = make("span", "words", deviation.words);
    if (deviation.without) words.append(make("span", "without", `without it: ${deviation.without}`));
    const button = make("button", "deviation", make("span", "number", String(number + 1)), words);
    button.type = "button";
    button.disabled = deviation.place === null;
    button.addEventListener("click", () => select(deviation.place));
    parts.push(button);
  });
  if (report.is_minimal === false) parts.push(make("p", "found", "Perhaps fewer: the time to shrink was up."));
  if (report.found) parts.push(make("p", "found", report.found));
  fill("deviations", ...parts);
}

function showViolations(model, select) {
  const { report } = model;
  const parts = model.violations.map((violation) => {
    const box = make("div", "violation", make("b", "", violation.property), `${violation.message}\nat ${formatTime(violation.at_ns)}`);
    const plain = (text) => text.replace(/\s+/g, " ").trim();
    const told = plain(violation.message);  // a message often tells its facts
    const facts = Object.entries(violation.facts).filter(([, value]) => !told.includes(plain(value)));
    for (const [name, value] of facts) box.append(make("div", "mono", `${name}: ${value}`));
    const go = make("button", "", "Show");
    go.type = "button";
    go.addEventListener("click", () => select(violation.place));
    box.append(make("div", "", go));
    return box;
  });
  if (!parts.length) parts.push(make("div", "violation", report.failure));
  fill("violations", ...parts);
  if (!report.replay.command) return;
  const copy = make("button", "", "Copy");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(report.replay.command);
      copy.textContent = "Copied";
    } catch {  // pages from files may not be allowed to: select the text instead
      getSelection().selectAllChildren(copy.previousElementSibling);
      copy.textContent = "Press Ctrl+C";
    }
  });
  fill("replay", make("p", "found", "Run it again:"), make("div", "replay", make("code", "", report.replay.command), copy));
}

function showLegend(model) {
  const lines = ["○ sent, ● received", "dashed: lost ✗, a copy, held, under way", "✗ crash", "● restart", "‖ pause", "◆ decided, conflict", "■ returned", "! error"];
  if (model.deviations.length) lines.push("① a deviation from the calm schedule");
  if (model.violations.length) lines.push("⚑ the property broke", "faint: cannot have led to it");
  fill("legend", ...lines.map((line) => make("li", "", line)));
}

// -- filters ---------------------------------------------------------------------------------------------------------

function showFilters(view, changed) {
  const { model } = view;
  const count = (values) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    return counts;
  };
  const agents = count(model.events.map((event) => event.agent));
  const channels = count(model.report.messages.map((message) => message.channel));
  const kinds = count(model.events.map((event) => event.kind));
  const chips = (id, title, hidden, names, counts, coloured) => {
    const parts = names.map((name) => {
      const chip = make("button", "chip", make("span", "name", name), make("span", "number", String(counts.get(name) || 0)));
      chip.type = "button";
      chip.dataset.name = name;
      chip.title = name;
      if (coloured) {
        const patch = make("i");
        patch.style.background = `var(--${CHANNEL_ORDER.includes(name) ? name : "quiet"})`;
        chip.prepend(patch);
      }
      chip.setAttribute("aria-pressed", String(!hidden.has(name)));
      chip.addEventListener("click", () => {
        if (hidden.has(name)) hidden.delete(name); else hidden.add(name);
        chip.setAttribute("aria-pressed", String(!hidden.has(name)));
        changed();
      });
      return chip;
    });
    fill(id, make("span", "", title), ...parts);
  };
  chips("filter-agents", "Agents", view.hidden.agents, model.agents.filter((name) => agents.has(name)), agents, false);
  const order = (name) => (CHANNEL_ORDER.indexOf(name) + CHANNEL_ORDER.length + 1) % (CHANNEL_ORDER.length + 1);
  chips("filter-channels", "Channels", view.hidden.channels, [...channels.keys()].sort((a, b) => order(a) - order(b)), channels, true);
  chips("filter-kinds", "Kinds", view.hidden.kinds, [...kinds.keys()].sort(), kinds, false);
}

// -- the list of events: only the rows in sight exist ------------------------------------------------------------------

class EventList {
  constructor(view, select) {
    this.view = view;
    this.select = select;
    this.cursor = null;
    this.box = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.box.addEventListener("scroll", () => this.paint());
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.select(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.paint()).observe(this.box);
  }

  update() {
    const listed = this.view.listed();
    this.rows.style.height = `${listed.length * ROW}px`;
    fill("count", `${listed.length} of ${this.view.model.events.length}`);
    this.paint();
  }

  show(place) {
    this.cursor = place;
    const rank = this.view.listed().indexOf(place);
    if (rank >= 0) {
      const top = rank * ROW;
      if (top < this.box.scrollTop) this.box.scrollTop = top - ROW * 2;
      else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW * 3 - this.box.clientHeight;
    }
    this.paint();
  }

  paint() {
    const { model } = this.view;
    const listed = this.view.listed();
    const from = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const to = Math.min(listed.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 4);
    const rows = [];
    for (let rank = from; rank < to; rank++) {
      const place = listed[rank];
      const event = model.events[place];
      const row = make("div", "row", make("span", "time", formatTime(event.at_ns)), make("b", "", event.agent), make("span", "what", model.headline(event).slice(0, 160)));
      row.id = `row-${place}`;
      row.dataset.place = place;
      row.style.top = `${rank * ROW}px`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(place === this.cursor));
      row.setAttribute("aria-posinset", rank + 1);
      row.setAttribute("aria-setsize", listed.length);
      if (BAD_KINDS.has(event.kind)) row.classList.add("bad");
      if (this.view.isAside(place)) row.classList.add("aside");
      rows.push(row);
    }
    this.rows.replaceChildren(...rows);
    if (this.cursor !== null) this.box.setAttribute("aria-activedescendant", `row-${this.cursor}`);
  }
}

// -- the inspector ---------------------------------------------------------------------------------------------------

function showEvent(model, place) {
  const event = model.events[place];
  const message = event.message === null ? null : model.messages.get(event.message);
  fill("instant", `${formatTime(event.at_ns)} `, make("span", "quiet", `after event ${event.index}`));
  const table = make("dl", "facts-table");
  const add = (name, value) => {
    if (value !== "" && value !== null && value !== undefined) table.append(make("dt", "", name), make("dd", "mono", String(value)));
  };
  if (message) {
    add("message", message.id);
    add("payload", message.payload);
    add("channel", message.channel);
    add("sent", formatTime(message.sent_at_ns));
    add("arrived", message.arrivals_ns.map(formatTime).join(", "));
    if (message.lost_at_ns !== null) add("lost", formatTime(message.lost_at_ns));
    if (message.copies) add("copies", message.copies);
    if (message.held_at_ns !== null) add("held", formatTime(message.held_at_ns));
  }
  for (const [name, value] of Object.entries(event.detail)) add(name || "detail", value);
  if (event.clock) {
    const counts = model.agents.map((name, lane) => [name, event.clock[lane]]).filter(([, count]) => count);
    add("vector clock", counts.map(([name, count]) => `${name} ${count}`).join(", "));
  }
  fill("event", make("div", "headline", `${event.agent}: ${model.headline(event).slice(0, 160)}`), table);
}

function showStates(model, place) {
  const { report } = model;
  fill("source", report.states.source === "snapshots" ? "" : "(as far as the events of this run tell)");
  const here = model.events[place].agent;
  const cards = model.agents
    .filter((name) => model.changes.get(name).length || model.lives.get(name).length || name === here)
    .map((name) => agentCard(model, name, place, name === here));
  fill("states", ...cards);
}

const SECTION_ORDER = ["raised", "waits", "locals", "inbox", "state", "exposed", "machine", "pattern", "decided", "observed", "storage"];
const unfolded = new Set();

function orderOf(section) {
  const found = SECTION_ORDER.indexOf(section.split(" ")[0]);
  return found < 0 ? SECTION_ORDER.length : found + (section.includes(" ") ? 0.5 : 0);
}

function agentCard(model, name, place, isHere) {
  const state = model.stateOf(name, place);
  const before = model.stateOf(name, place - 1);
  const [words, tone] = model.lifeOf(name, place);
  const life = make("span", `life ${tone}`, words);
  life.title = words;
  const card = make("div", isHere ? "agent here" : "agent", make("h4", "", make("span", "name", name), life));
  card.dataset.agent = name;
  const sections = new Map();
  for (const [key, value] of state) {
    const cut = key.indexOf("/");
    const section = key.slice(0, cut);
    if (!sections.has(section)) sections.set(section, []);
    sections.get(section).push([key.slice(cut + 1), value, before.get(key) !== value]);
  }
  for (const [section, fields] of [...sections].sort(([one], [other]) => orderOf(one) - orderOf(other))) {
    const box = make("div", "section");
    const known = new Map(fields.map(([field, value]) => [field, value]));
    if (section === "waits" || section === "raised") {
      if (known.has("error")) box.append(make("div", "source-line", known.get("error")));
      box.append(make("b", "", `${section === "waits" ? "at" : "raised at"} ${known.get("at") || ""} in ${known.get("in") || ""}`),
        make("div", "source-line", known.get("line") || ""));
    } else {
      const folds = section.startsWith("storage (");  // of protocols, not of the user's agents
      const fold = folds ? make("details", "", make("summary", "", section)) : box;
      if (folds) {
        fold.open = unfolded.has(`${name} ${section}`);
        fold.addEventListener("toggle", () => unfolded[fold.open ? "add" : "delete"](`${name} ${section}`));
        box.append(fold);
      } else box.append(make("b", "", section));
      for (const [field, value, changed] of fields) {
        fold.append(make("div", changed ? "field changed" : "field", make("span", "name", field === "value" ? "" : field), make("span", "value mono", value)));
      }
    }
    card.append(box);
  }
  if (!sections.size) card.append(make("div", "nothing", "nothing known"));
  return card;
}
