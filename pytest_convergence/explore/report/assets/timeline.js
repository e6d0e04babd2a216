// The space-time diagram on a canvas: only what is in sight is drawn, in a handful of strokes.

const LANE = 58;
const AXIS = 34;
const GUTTER = 132;
const MOST_ARROWS = 1200;
const LOST_AT = 0.72;
const BAD_KINDS = new Set(["crash", "error", "lost"]);
const GLYPHS = {
  crash: ["cross", "--bad"], error: ["bang", "--bad"], restart: ["disc", "--good"], start: ["tick", "--quiet"],
  pause: ["bars", "--warn"], resume: ["play", "--good"], return: ["square", "--good"], stop: ["square", "--quiet"],
  decide: ["diamond", "--good"], observe: ["small-diamond", "--accent"], state: ["square", "--sync"], persist: ["small-square", "--quiet"],
  sync: ["small-square", "--good"], conflict: ["diamond", "--conflict"], timer: ["tick", "--quiet"], stall: ["bars", "--quiet"],
  session: ["tick", "--accent"], rule: ["tick", "--warn"], step: ["tick", "--quiet"], duplicate: ["small-diamond", "--warn"], held: ["bars", "--warn"],
};

class Timeline {
  constructor(canvas, tooltip, view, onSelect) {
    this.canvas = canvas;
    this.tooltip = tooltip;
    this.view = view;
    this.model = view.model;
    this.onSelect = onSelect;
    this.left = 0;
    this.scale = 1;
    this.top = 0;
    this.cursor = null;
    this.hover = null;
    this.frame = 0;
    this.readColours();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    this.colours = {};
    for (const name of ["ground", "card", "ink", "quiet", "line", "soft", "accent", "bad", "bad-soft", "warn", "good", "user", "pattern", "sync", "handoff",
      "conflict", "ack", "crash", "pause", "rule", "selected"]) this.colours[`--${name}`] = style.getPropertyValue(`--${name}`).trim();
    this.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    this.draw();
  }

  colour(name) {
    return this.colours[name] || this.colours["--quiet"];
  }

  resize() {
    const lanes = Math.max(1, this.view.lanes.length);
    const wanted = Math.min(AXIS + lanes * LANE + 16, Math.max(220, Math.round(window.innerHeight * 0.56)));
    this.canvas.style.height = `${wanted}px`;
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.parentElement.clientWidth;
    this.height = wanted;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.clamp();
    this.draw();
  }

  // -- geometry ------------------------------------------------------------------------------------------------------

  get columns() {
    return Math.max(1, this.view.shown.length);
  }

  get plot() {
    return Math.max(50, this.width - GUTTER - 20);
  }

  x(position) {
    return GUTTER + 20 + (position - this.left) * this.scale;
  }

  positionAt(x) {
    return this.left + (x - GUTTER - 20) / this.scale;
  }

  y(agent) {
    return AXIS + 10 + this.rows.get(agent) * LANE + LANE / 2 - this.top;
  }

  // Where an event is drawn, in pixels of the canvas: for links from elsewhere, and for tests.
  pointOf(place) {
    this.arrange();
    return { x: this.x(this.view.position(place)), y: this.y(this.model.events[place].agent) };
  }

  arrange() {
    this.rows = new Map(this.view.lanes.map((name, row) => [name, row]));
  }

  get leastScale() {
    return Math.min(160, this.plot / Math.max(1, this.columns - 0.2));
  }

  clamp() {
    this.scale = Math.min(Math.max(this.scale, this.leastScale), 400 * (this.view.byTime ? 1e4 : 1));
    const inSight = this.plot / this.scale;
    this.left = Math.min(Math.max(this.left, -0.3), Math.max(-0.3, this.columns - 0.7 - inSight));
    const most = Math.max(0, AXIS + 26 + this.view.lanes.length * LANE - this.height);
    this.top = Math.min(Math.max(this.top, 0), most);
  }

  zoom(factor, at = GUTTER + 20 + this.plot / 2) {
    const position = this.positionAt(at);
    this.scale *= factor;
    this.clamp();
    this.left = position - (at - GUTTER - 20) / this.scale;
    this.clamp();
    this.draw();
  }

  fit() {
    this.scale = 0;
    this.left = -0.3;
    this.clamp();
    this.draw();
  }

  // Show everything if it can be read, else some eighty events around a place.
  begin(place) {
    this.scale = Math.max(this.leastScale, Math.min(this.plot / 80, 160));
    this.centre(place);
  }

  centre(place) {
    if (place !== null) this.left = this.view.position(place) - this.plot / this.scale / 2;
    this.clamp();
    this.draw();
  }

  reveal(place) {
    const x = this.x(this.view.position(place));
    if (x < GUTTER + 40 || x > this.width - 40) this.centre(place);
    this.arrange();
    const agent = this.model.events[place].agent;
    if (this.rows.has(agent)) {
      const y = this.y(agent);
      if (y < AXIS + 20) this.top += y - AXIS - LANE; else if (y > this.height - 20) this.top += y - this.height + LANE;
    }
    this.clamp();
    this.draw();
  }

  // -- input ---------------------------------------------------------------------------------------------------------

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x } = this.at(event);
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.left += (event.deltaX || event.deltaY) / this.scale;
        this.clamp();
        this.draw();
      } else {
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), x);
      }
    }, { passive: false });
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      drag = { ...this.at(event), left: this.left, top: this.top, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const point = this.at(event);
      if (!drag) return this.pointAt(point);
      if (Math.hypot(point.x - drag.x, point.y - drag.y) > 4) drag.moved = true;
      if (!drag.moved) return undefined;
      canvas.classList.add("dragging");
      this.left = drag.left - (point.x - drag.x) / this.scale;
      this.top = drag.top - (point.y - drag.y);
      this.clamp();
      this.draw();
      return undefined;
    });
    const release = (event) => {
      canvas.classList.remove("dragging");
      const clicked = drag && !drag.moved && event.type === "pointerup";
      drag = null;
      if (clicked) this.click(this.at(event));
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { this.tooltip.hidden = true; this.hover = null; this.draw(); });
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  click(point) {
    if (!this.view.shown.length) return;
    const found = this.find(point);
    if (found !== null) this.onSelect(found);
    else if (point.x > GUTTER) {  // an instant between events: the last event before it
      const position = this.positionAt(point.x);
      let rank = this.view.nearest(position);
      if (rank > 0 && this.view.position(this.view.shown[rank]) > position) rank--;
      this.onSelect(this.view.shown[rank]);
    }
  }

  // The event under a point: a mark on a lane, else the end of the arrow that passes there.
  find({ x, y }) {
    const { view } = this;
    if (!view.shown.length || x < GUTTER) return null;
    this.arrange();
    const reach = 11 / this.scale;
    const position = this.positionAt(x);
    let best = null;
    let least = 12;
    for (let rank = view.nearest(position - reach); rank < view.shown.length; rank++) {
      const place = view.shown[rank];
      const at = view.position(place);
      if (at > position + reach) break;
      const distance = Math.hypot(this.x(at) - x, this.y(this.model.events[place].agent) - y);
      if (distance <= least) { least = distance; best = place; }
    }
    if (best !== null) return best;
    least = 5;
    for (const arrow of view.arrows) {
      const line = this.lineOf(arrow);
      if (!line || Math.max(line.x1, line.x2) < x - 5 || Math.min(line.x1, line.x2) > x + 5) continue;
      const length = Math.hypot(line.x2 - line.x1, line.y2 - line.y1) || 1;
      const along = ((x - line.x1) * (line.x2 - line.x1) + (y - line.y1) * (line.y2 - line.y1)) / length ** 2;
      const distance = Math.abs((line.x2 - line.x1) * (line.y1 - y) - (line.x1 - x) * (line.y2 - line.y1)) / length;
      if (along >= 0 && along <= 1 && distance < least) { least = distance; best = arrow.to === null ? arrow.from : arrow.to; }
    }
    return best;
  }

  pointAt(point) {
    const found = this.find(point);
    this.tooltip.hidden = found === null;
    if (found !== null) {
      const event = this.model.events[found];
      const message = event.message === null ? null : this.model.messages.get(event.message);
      const lines = [`${formatTime(event.at_ns)} · ${event.agent}`, this.model.headline(event)];
      if (message) lines.push(`${message.id} · ${message.channel} · sent ${formatTime(message.sent_at_ns)}`);
      this.tooltip.textContent = lines.map((line) => (line.length > 300 ? `${line.slice(0, 300)}…` : line)).join("\n");
      const box = this.tooltip.getBoundingClientRect();
      this.tooltip.style.left = `${Math.min(point.x + 14, this.width - box.width - 8)}px`;
      this.tooltip.style.top = `${Math.max(4, Math.min(point.y + 16, this.height - box.height - 4))}px`;
    }
    if (found !== this.hover) { this.hover = found; this.draw(); }
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  draw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.paint(); });
  }

  lineOf(arrow) {
    const { view } = this;
    const { sender, recipient } = arrow.message;
    if (!this.rows.has(sender) || !this.rows.has(recipient)) return null;
    const y1 = this.y(sender);
    const y2 = this.y(recipient);
    const end = arrow.to === null ? null : this.x(view.position(arrow.to));
    const start = arrow.from === null ? GUTTER : this.x(view.position(arrow.from));
    if (arrow.fate === "lost") {
      const far = end - start < 14 ? start + Math.min(26, this.scale * 0.8) : end;
      return { x1: start, y1, x2: start + (far - start) * LOST_AT, y2: y1 + (y2 - y1) * LOST_AT };
    }
    if (arrow.to === null) return { x1: start, y1, x2: start + Math.max(18, Math.min(60, this.scale)), y2: y1 + (y2 - y1) * 0.45 };
    return { x1: start, y1, x2: end, y2 };
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    this.arrange();
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, this.width - GUTTER, this.height);
    context.clip();
    this.paintSpans(context);
    this.paintLanes(context);
    this.paintCursor(context);
    this.paintArrows(context);
    this.paintEvents(context);
    this.paintViolations(context);
    this.paintAxis(context);
    this.paintNote(context);
    context.restore();
    this.paintNames(context);
  }

  paintLanes(context) {
    context.strokeStyle = this.colour("--line");
    context.lineWidth = 1.5;
    context.beginPath();
    for (const name of this.view.lanes) {
      const y = this.y(name);
      context.moveTo(GUTTER, y);
      context.lineTo(this.width, y);
    }
    context.stroke();
  }

  paintSpans(context) {
    context.font = this.font;
    for (const span of this.model.spans) {
      const from = Math.max(GUTTER, this.spanEdge(span.from, span.from_ns));
      const to = Math.min(this.width, Math.max(from + 3, span.to_ns === null ? this.width : this.spanEdge(span.to, span.to_ns)));
      if (to < GUTTER || from > this.width) continue;
      if (span.kind === "rule") {
        context.fillStyle = this.colour("--rule");
        context.globalAlpha = 0.55;
        context.fillRect(from, AXIS, to - from, this.height);
        context.globalAlpha = 1;
        context.fillStyle = this.colour("--warn");
        if (to - from > 60) context.fillText(this.fitted(context, span.words, to - from - 10), from + 5, this.height - 6);
      } else if (this.rows.has(span.agent)) {
        const y = this.y(span.agent);
        context.fillStyle = this.colour(span.kind === "crash" ? "--crash" : "--pause");
        context.fillRect(from, y - 17, to - from, 34);
        context.fillStyle = this.colour(span.kind === "crash" ? "--bad" : "--quiet");
        const words = { crash: "crashed", pause: "paused", stall: "held up" }[span.kind];
        if (to - from > 64) context.fillText(words, from + 12, y - 5);
      }
    }
  }

  spanEdge(place, ns) {
    if (this.view.byTime) return this.x((ns - this.view.firstTime) / this.view.nsPerColumn);
    return this.x(this.view.position(place));
  }

  fitted(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let end = Math.max(1, Math.floor(text.length * width / context.measureText(text).width));
    while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end--;
    return `${text.slice(0, end)}…`;
  }

  paintNote(context) {
    if (this.stride <= 1) return;
    const text = `one message in ${this.stride} is drawn: zoom in for all`;
    context.font = this.font;
    const width = context.measureText(text).width;
    context.fillStyle = this.colour("--card");
    context.fillRect(this.width - width - 22, this.height - 22, width + 16, 18);
    context.fillStyle = this.colour("--quiet");
    context.fillText(text, this.width - width - 14, this.height - 9);
  }

  paintAxis(context) {
    context.fillStyle = this.colour("--card");
    context.fillRect(GUTTER, 0, this.width, AXIS - 6);
    context.strokeStyle = this.colour("--line");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(GUTTER, AXIS - 6.5);
    context.lineTo(this.width, AXIS - 6.5);
    context.fillStyle = this.colour("--quiet");
    context.font = this.font;
    let edge = GUTTER;
    let last = "";
    for (const [x, ns] of this.ticks()) {
      const label = formatTime(ns);
      if (label === last || x < GUTTER) continue;
      const width = context.measureText(label).width;
      if (x - width / 2 < edge || x + width / 2 > this.width) continue;
      context.fillText(label, x - width / 2, 18);
      context.moveTo(x, AXIS - 11);
      context.lineTo(x, AXIS - 6.5);
      edge = x + width / 2 + 16;
      last = label;
    }
    context.stroke();
  }

  * ticks() {
    const { view } = this;
    if (view.byTime) {
      const perPixel = view.nsPerColumn / this.scale;
      const raw = perPixel * 110;
      const power = 10 ** Math.floor(Math.log10(raw));
      const step = Math.max(1, Math.round([1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw)));
      const from = Math.max(0, view.firstTime + this.positionAt(GUTTER) * view.nsPerColumn);
      for (let ns = Math.ceil(from / step) * step; ; ns += step) {
        const x = this.x((ns - view.firstTime) / view.nsPerColumn);
        if (x > this.width) return;
        yield [x, Math.round(ns)];
      }
    }
    const [from, to] = this.inSight();
    const stride = Math.max(1, Math.floor(40 / this.scale));
    for (let rank = from; rank < to; rank += stride) yield [this.x(rank), this.model.events[view.shown[rank]].at_ns];
  }

  // The ranks of the first event in sight and of the first one after.
  inSight() {
    const { view } = this;
    if (!view.shown.length) return [0, 0];
    const from = Math.max(0, view.nearest(this.positionAt(GUTTER)) - 1);
    const to = Math.min(view.shown.length, view.nearest(this.positionAt(this.width)) + 2);
    return [from, to];
  }

  paintArrows(context) {
    const groups = new Map();
    const labels = [];
    const marked = [];
    const selected = this.cursor === null ? null : this.model.events[this.cursor].message;
    const inSight = [];
    for (const arrow of this.view.arrows) {
      const line = this.lineOf(arrow);
      if (line && Math.max(line.x1, line.x2) >= GUTTER && Math.min(line.x1, line.x2) <= this.width) inSight.push([arrow, line]);
    }
    // So many lines would be one block of colour, and slow: some stand for all, but what is out of the ordinary is always drawn.
    this.stride = Math.ceil(inSight.length / MOST_ARROWS);
    for (let at = 0; at < inSight.length; at++) {
      const [arrow, line] = inSight[at];
      if (at % this.stride && arrow.fate !== "lost" && arrow.message.uid !== selected && !this.model.deviating.has(arrow.message.uid)) continue;
      const place = arrow.to === null ? arrow.from : arrow.to;
      const aside = this.view.isAside(place) && (arrow.from === null || this.view.isAside(arrow.from));
      const number = this.model.deviating.get(arrow.message.uid);
      const chosen = arrow.message.uid === selected || number !== undefined;
      const colour = arrow.fate === "lost" ? "--bad" : number !== undefined || arrow.fate === "copy" || arrow.fate === "held" ? "--warn" : `--${arrow.message.channel}`;
      const key = `${colour} ${arrow.fate !== "delivered"} ${aside} ${chosen}`;
      if (!groups.has(key)) groups.set(key, { colour, dashed: arrow.fate !== "delivered", aside, chosen, lines: [] });
      groups.get(key).lines.push({ ...line, fate: arrow.fate });
      if (number !== undefined) marked.push([line, number]);
      if (!aside || chosen) labels.push([arrow, line, colour]);
    }
    const heads = this.scale > 2.5;
    for (const { colour, dashed, aside, chosen, lines } of groups.values()) {
      context.strokeStyle = context.fillStyle = this.colour(colour);
      context.globalAlpha = aside && !chosen ? 0.18 : this.scale < 3 ? 0.5 : 0.9;
      context.lineWidth = chosen ? 3 : 1.4;
      context.setLineDash(dashed ? [5, 4] : []);
      context.beginPath();
      for (const line of lines) this.trace(context, line);
      context.stroke();
      context.setLineDash([]);
      if (heads) {
        context.beginPath();
        for (const line of lines) this.head(context, line);
        context.fill();
        context.beginPath();
        for (const line of lines) if (line.fate === "lost") this.cross(context, line.x2, line.y2, 5);
        context.lineWidth = 2;
        context.stroke();
      }
    }
    context.globalAlpha = 1;
    this.paintLabels(context, labels);
    for (const [line, number] of marked) this.badgeOn(context, line, number);
  }

  trace(context, { x1, y1, x2, y2 }) {
    context.moveTo(x1, y1);
    if (y1 === y2) context.quadraticCurveTo((x1 + x2) / 2, y1 - 26, x2, y2);
    else context.lineTo(x2, y2);
  }

  head(context, { x1, y1, x2, y2, fate }) {
    if (fate === "lost") return;
    const angle = y1 === y2 ? Math.PI / 4 : Math.atan2(y2 - y1, x2 - x1);
    const tip = fate === "delivered" || fate === "copy" ? 5 : 0;
    const x = x2 - Math.cos(angle) * tip;
    const y = y2 - Math.sin(angle) * tip;
    context.moveTo(x, y);
    context.lineTo(x - 9 * Math.cos(angle - 0.38), y - 9 * Math.sin(angle - 0.38));
    context.lineTo(x - 9 * Math.cos(angle + 0.38), y - 9 * Math.sin(angle + 0.38));
    context.closePath();
  }

  cross(context, x, y, size) {
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
  }

  paintLabels(context, labels) {
    if (this.scale < 26 || labels.length > 400) return;
    context.font = this.font;
    const taken = [];
    for (const [arrow, line, colour] of labels) {
      const { message } = arrow;
      const width = Math.min(190, Math.max(40, Math.abs(line.x2 - line.x1) + this.scale * 0.9));
      const payload = message.payload === "None" ? "" : ` ${message.payload}`;
      const text = this.fitted(context, `${message.type === "message" ? "" : message.type}${payload}`.trim().slice(0, 80) || message.type, width);
      const size = context.measureText(text).width;
      const along = line.y1 === line.y2 ? 0.5 : Math.min(0.5, LANE / 2 / Math.abs(line.y2 - line.y1));  // between two lanes
      const x = line.x1 + (line.x2 - line.x1) * along - size / 2;
      const y = line.y1 + (line.y2 - line.y1) * along + 4;
      if (taken.some(([left, top, wide]) => x < left + wide + 4 && left < x + size + 4 && Math.abs(top - y) < 15)) continue;
      taken.push([x, y, size]);
      context.fillStyle = this.colour("--card");
      context.globalAlpha = 0.86;
      context.fillRect(x - 3, y - 11, size + 6, 15);
      context.globalAlpha = 1;
      context.fillStyle = this.colour(colour);
      context.fillText(text, x, y);
    }
  }

  // Near the end of an arrow: its label is near the beginning.
  badgeOn(context, { x1, y1, x2, y2 }, number) {
    const along = y1 === y2 ? 0.5 : Math.max(0.75, 1 - LANE / 3 / Math.abs(y2 - y1));
    this.badge(context, x1 + (x2 - x1) * along, y1 + (y2 - y1) * along, number);
  }

  badge(context, x, y, number) {
    context.beginPath();
    context.arc(x, y, 9, 0, 7);
    context.fillStyle = this.colour("--warn");
    context.fill();
    context.fillStyle = this.colour("--card");
    context.font = `bold ${this.font}`;
    const width = context.measureText(String(number)).width;
    context.fillText(String(number), x - width / 2, y + 4);
  }

  paintEvents(context) {
    const { view, model } = this;
    const [from, to] = this.inSight();
    const small = this.scale < 6;
    const dots = new Map();
    for (let rank = from; rank < to; rank++) {
      const place = view.shown[rank];
      const event = model.events[place];
      if (!this.rows.has(event.agent) || event.kind === "lost") continue;
      const x = this.x(view.position(place));
      const y = this.y(event.agent);
      const aside = view.isAside(place);
      const message = event.message === null ? null : model.messages.get(event.message);
      if (small && !BAD_KINDS.has(event.kind) && GLYPHS[event.kind]?.[0] !== "diamond") {
        const colour = message ? `--${message.channel}` : GLYPHS[event.kind]?.[1] || "--quiet";
        const key = `${colour} ${aside}`;
        if (!dots.has(key)) dots.set(key, { colour, aside, points: new Map() });
        dots.get(key).points.set(Math.round(x) * 4096 + Math.round(y), [x, y]);  // one for each pixel
        continue;
      }
      context.globalAlpha = aside ? 0.25 : 1;
      if (event.kind === "send" || event.kind === "receive") {
        context.beginPath();
        context.arc(x, y, 4, 0, 7);
        context.fillStyle = this.colour(event.kind === "send" ? "--card" : `--${message ? message.channel : "user"}`);
        context.strokeStyle = this.colour(`--${message ? message.channel : "user"}`);
        context.lineWidth = 1.8;
        context.fill();
        context.stroke();
      } else this.glyph(context, x, y, ...(GLYPHS[event.kind] || ["tick", "--quiet"]));
      const number = model.deviating.get(`e${place}`);
      if (number !== undefined) this.badge(context, x, y - 17, number);
    }
    for (const { colour, aside, points } of dots.values()) {
      context.globalAlpha = aside ? 0.2 : 0.9;
      context.fillStyle = this.colour(colour);
      context.beginPath();
      for (const [x, y] of points.values()) context.rect(x - 1, y - 3, 2, 6);
      context.fill();
    }
    context.globalAlpha = 1;
    for (const place of [this.hover, this.cursor]) {
      if (place === null || !this.rows.has(model.events[place].agent)) continue;
      context.beginPath();
      context.arc(this.x(view.position(place)), this.y(model.events[place].agent), 9, 0, 7);
      context.strokeStyle = this.colour(place === this.cursor ? "--selected" : "--accent");
      context.lineWidth = 2;
      context.stroke();
    }
  }

  glyph(context, x, y, shape, colour) {
    context.fillStyle = context.strokeStyle = this.colour(colour);
    context.lineWidth = 2.4;
    context.beginPath();
    const size = shape.startsWith("small") ? 4 : 6;
    switch (shape.replace("small-", "")) {
      case "cross": this.cross(context, x, y, 7); context.stroke(); return;
      case "bars": context.rect(x - 5, y - 6, 3.4, 12); context.rect(x + 1.6, y - 6, 3.4, 12); break;
      case "play": context.moveTo(x - 4, y - 6); context.lineTo(x + 6, y); context.lineTo(x - 4, y + 6); break;
      case "square": context.rect(x - size + 1, y - size + 1, 2 * size - 2, 2 * size - 2); break;
      case "diamond": context.moveTo(x, y - size); context.lineTo(x + size, y); context.lineTo(x, y + size); context.lineTo(x - size, y); break;
      case "disc": context.arc(x, y, 5.5, 0, 7); break;
      case "bang":
        context.arc(x, y, 9, 0, 7);
        context.fill();
        context.fillStyle = this.colour("--card");
        context.font = "bold 13px system-ui, sans-serif";
        context.fillText("!", x - 2, y + 5);
        return;
      default: context.rect(x - 1, y - 5, 2, 10);
    }
    context.fill();
  }

  paintCursor(context) {
    if (this.cursor === null) return;
    const x = this.x(this.view.position(this.cursor));
    context.strokeStyle = this.colour("--selected");
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(x, AXIS - 6);
    context.lineTo(x, this.height);
    context.stroke();
    context.setLineDash([]);
  }

  paintViolations(context) {
    context.font = `bold ${this.font}`;
    this.model.violations.forEach((violation, number) => {
      const x = this.x(this.view.position(violation.place)) + Math.min(8, this.scale / 2);
      context.strokeStyle = context.fillStyle = this.colour("--bad");
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x, AXIS - 6);
      context.lineTo(x, this.height);
      context.stroke();
      for (const agent of violation.agents) {
        if (!this.rows.has(agent)) continue;
        context.beginPath();
        context.arc(x, this.y(agent), 7, 0, 7);
        context.fill();
      }
      const text = this.fitted(context, `⚑ ${violation.property}`, 260);
      const width = context.measureText(text).width + 10;
      const left = x + width + 4 > this.width ? x - width : x;
      const top = AXIS - 5 + number * 20;
      context.fillRect(left, top, width, 18);
      context.fillStyle = this.colour("--card");
      context.fillText(text, left + 5, top + 13);
    });
  }

  paintNames(context) {
    context.fillStyle = this.colour("--card");
    context.fillRect(0, 0, GUTTER, this.height);
    context.strokeStyle = this.colour("--line");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(GUTTER - 0.5, 0);
    context.lineTo(GUTTER - 0.5, this.height);
    context.stroke();
    context.font = `600 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
    for (const name of this.view.lanes) {
      const y = this.y(name);
      if (y < AXIS - 4 || y > this.height + 10) continue;
      const tone = this.cursor === null ? "" : this.model.lifeOf(name, this.cursor)[1];
      context.fillStyle = this.colour(tone === "bad" ? "--bad" : tone === "warn" ? "--warn" : "--ink");
      context.fillText(this.fitted(context, name, GUTTER - 26), 14, y + 4);
    }
  }
}
