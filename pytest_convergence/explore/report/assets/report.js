// Puts the page together, and listens.

(() => {
  const model = new Model(JSON.parse(document.getElementById("report-data").textContent));
  const view = new View(model);
  const root = document.documentElement;
  const element = (id) => document.getElementById(id);
  let cursor = null;
  let timeline = null;
  let list = null;

  function setTheme(theme) {
    root.dataset.theme = theme;
    try {
      localStorage.setItem("convergence-theme", theme);
    } catch { /* a page from a file may have no storage */ }
    if (timeline) timeline.readColours();
  }

  function firstTheme() {
    try {
      const kept = localStorage.getItem("convergence-theme");
      if (kept) return kept;
    } catch { /* as above */ }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }

  function select(place, { reveal = true } = {}) {
    if (place === null || place === undefined || !model.events.length) return;
    cursor = place;
    timeline.cursor = place;
    if (view.pastOf !== null) { view.pastOf = place; list.update(); }
    if (reveal) timeline.reveal(place); else timeline.draw();
    list.show(place);
    showEvent(model, place);
    showStates(model, place);
    countMatches();
    history.replaceState(null, "", `#event=${model.events[place].index}`);
  }

  function countMatches() {
    if (!view.matches) return fill("matches", "");
    const at = view.matches.indexOf(cursor);
    return fill("matches", at < 0 ? `${view.matches.length} found` : `${at + 1} of ${view.matches.length}`);
  }

  function refresh() {
    view.update();
    timeline.resize();
    list.update();
    countMatches();
  }

  function step(direction) {
    const listed = view.listed();
    if (!listed.length) return;
    let rank = listed.findIndex((place) => place >= cursor);
    if (rank < 0) rank = listed.length;
    if (direction < 0) rank -= 1; else if (listed[rank] === cursor) rank += 1;
    select(listed[Math.min(Math.max(rank, 0), listed.length - 1)]);
  }

  // The nearest event in the lane above or below.
  function changeLane(direction) {
    const lane = view.lanes.indexOf(model.events[cursor].agent);
    for (let next = lane + direction; next >= 0 && next < view.lanes.length; next += direction) {
      const there = view.shown.filter((place) => model.events[place].agent === view.lanes[next]);
      if (there.length) {
        const distance = (place) => Math.abs(view.position(place) - view.position(cursor));
        return select(there.reduce((best, place) => (distance(place) < distance(best) ? place : best)));
      }
    }
    return undefined;
  }

  function toggle(id, change) {
    const button = element(id);
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    const kept = cursor;
    change(pressed);
    refresh();
    if (kept !== null) timeline.reveal(kept);
  }

  const actions = {
    "zoom-in": () => timeline.zoom(1.5, cursorX()),
    "zoom-out": () => timeline.zoom(1 / 1.5, cursorX()),
    "zoom-fit": () => timeline.fit(),
    "step-back": () => step(-1),
    "step-forward": () => step(1),
    "to-violation": () => select(model.failurePlace()),
    "scale-mode": () => toggle("scale-mode", (pressed) => { view.byTime = pressed; }),
    "past-mode": () => toggle("past-mode", (pressed) => { view.pastOf = pressed ? cursor : null; }),
    "decisive-mode": () => toggle("decisive-mode", (pressed) => { view.onlyDecisive = pressed; }),
    "theme-button": () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"),
    "help-button": () => element("help").showModal(),
  };

  function cursorX() {
    if (cursor === null) return undefined;
    const { x } = timeline.pointOf(cursor);
    return x > GUTTER && x < timeline.width ? x : undefined;
  }

  const keys = [
    [["ArrowRight", "l"], "→", "next event", () => step(1)],
    [["ArrowLeft", "h"], "←", "previous event", () => step(-1)],
    [["ArrowDown", "j"], "↓", "nearest event of the next agent", () => changeLane(1)],
    [["ArrowUp", "k"], "↑", "nearest event of the agent above", () => changeLane(-1)],
    [["m"], "m", "other end of the message", () => select(model.otherEnd(cursor))],
    [["v"], "v", "where it broke", actions["to-violation"]],
    [["Home"], "Home", "first event", () => select(view.listed()[0])],
    [["End"], "End", "last event", () => select(view.listed().at(-1))],
    [["+", "="], "+", "zoom in", actions["zoom-in"]],
    [["-"], "-", "zoom out", actions["zoom-out"]],
    [["0"], "0", "show everything", actions["zoom-fit"]],
    [["s"], "s", "true time, or a column for each event", actions["scale-mode"]],
    [["c"], "c", "causal past of the selected event", actions["past-mode"]],
    [["d"], "d", "only what led to the failure", actions["decisive-mode"]],
    [["/"], "/", "search; Enter goes from match to match", () => element("search").focus()],
    [["t"], "t", "light or dark", actions["theme-button"]],
    [["?"], "?", "these keys", actions["help-button"]],
  ];

  function listenToKeys() {
    const byKey = new Map(keys.flatMap(([names, , , action]) => names.map((name) => [name, action])));
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey || element("help").open) return;
      const arrows = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
      if (arrows && !event.target.matches("#timeline, #list, body")) return;
      const action = byKey.get(event.key);
      if (!action) return;
      event.preventDefault();
      action();
    });
    fill("keys", ...keys.flatMap(([, name, words]) => [make("dt", "", make("kbd", "", name)), make("dd", "", words)]));
  }

  function listenToSearch() {
    const search = element("search");
    search.addEventListener("input", () => {
      view.query = search.value;
      refresh();
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") {
        search.value = view.query = "";
        refresh();
        element("timeline").focus();
      }
    });
  }

  function fromAddress() {
    const match = /event=(\d+)/.exec(location.hash);
    const place = match ? model.placeOf.get(Number(match[1])) : undefined;
    return place === undefined ? model.failurePlace() : place;
  }

  root.dataset.theme = firstTheme();
  showHead(model, select);
  showLegend(model);
  timeline = new Timeline(element("timeline"), element("tooltip"), view, (place) => select(place, { reveal: false }));
  list = new EventList(view, select);
  showFilters(view, refresh);
  for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
  element("decisive-mode").hidden = !model.violations.length;
  listenToKeys();
  listenToSearch();
  list.update();
  if (model.events.length) {
    timeline.begin(fromAddress());
    select(fromAddress());
  }
  window.convergenceReport = { model, view, timeline, select };
})();
