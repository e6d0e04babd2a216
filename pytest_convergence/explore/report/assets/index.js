"use strict";
(() => {
  const index = JSON.parse(document.getElementById("index-data").textContent);
  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    element.className = className;
    element.append(...children);
    return element;
  };
  const link = (file, text) => {
    const element = make("a", "", text);
    element.href = encodeURI(file);
    return element;
  };
  const words = { html: "page", json: "JSON", mmd: "Mermaid", "shiviz.log": "ShiViz" };
  document.getElementById("number").textContent =
    index.reports.length ? `${index.reports.length} failing test${index.reports.length === 1 ? "" : "s"} of the last run` : "No test of the last run failed.";
  for (const report of index.reports) {
    const test = link(report.files.html, report.test);
    test.classList.add("test");
    const item = make("li", "", test, make("div", "failure", report.failure.split("\n")[0]));
    if (report.deviations.length) item.append(make("ul", "deviations", ...report.deviations.map((each) => make("li", "", each))));
    item.append(make("div", "files", ...Object.entries(report.files).map(([ending, file]) => link(file, words[ending] || ending))));
    document.getElementById("reports").append(item);
  }
})();
