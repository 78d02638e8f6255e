"use strict";
// Brings the page to life: the filter on one side, charts and table on the other.

const NARROWEST = 200; // pixels
const MOST_OPTIONS = 200; // what is not among them can be searched for

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const records = new Records(data);
  const filters = document.querySelector("form.filters");
  const { text, host, severity, kind, range, pair, shown } = filters.elements;
  let chosenRange = null;
  let zoom = null; // the part of the time that the timeline shows
  let chosenFlow = null;

  const table = new Table(document.getElementById("threads"), records, data.rows);
  const timeline = new Timeline(document.getElementById("timeline"), records, keepRange, zoomTo);
  const graph = new Graph(document.getElementById("graph"), records, keepFlow);
  let passing = new Uint32Array(0);

  function apply() {
    const chosen = chosenFlow && chosenFlow.pairs;
    passing = records.filter({ text: text.value, host: host.value, severity: severity.value, kind: kind.value, range: chosenRange, chosen });
    shown.textContent = `${number(passing.length)} of ${number(records.length)} ${records.length === 1 ? "row" : "rows"}`;
    chip(range, chosenRange && chosenRange.map(moment).join(" – "));
    chip(pair, chosenFlow && `${chosenFlow.source.label} → ${chosenFlow.target.label}`);
    draw();
    table.show(passing);
  }

  function draw() {
    if (innerWidth < NARROWEST) return; // a window that is just being made or moved
    timeline.show(passing, zoom);
    graph.show(passing);
  }

  function keepRange(stretch) {
    chosenRange = stretch;
    applyAt(timeline, range);
  }

  function zoomTo(stretch) {
    zoom = stretch;
    keepRange(stretch);
  }

  function keepFlow(flow) {
    chosenFlow = flow;
    applyAt(graph, pair);
  }

  // What was chosen stays where it is on the screen, though what stands above it may grow.
  function applyAt(chart, button) {
    const before = chart.top;
    apply();
    button.focus({ preventScroll: true });
    scrollBy({ top: chart.top - before, behavior: "instant" });
  }

  // A button that says what is kept, and lets go of it.
  function chip(button, words) {
    button.hidden = !words;
    button.replaceChildren(element("bdi", {}, words ?? ""), element("span", { "aria-hidden": "true" }, " ×"));
    button.setAttribute("aria-label", `Remove the filter: ${words}`);
  }

  function letGo(which) {
    if (which === range) chosenRange = zoom = null;
    else chosenFlow = null;
    apply();
    text.focus();
  }

  function options(select, values) {
    values.slice(0, MOST_OPTIONS).forEach((value) => select.append(element("option", { value }, value)));
    select.closest("label").hidden = values.length < 2;
  }

  const byRank = [...records.verdicts].sort((a, b) => a.rank - b.rank);
  options(host, records.hosts);
  options(severity, [...new Set(byRank.map((each) => each.severity))]);
  options(kind, [...new Set(records.verdicts.map((each) => each.kind))].sort(collate));

  let waiting = 0;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 150);
  });
  for (const each of [host, severity, kind]) each.addEventListener("change", apply);
  for (const each of [range, pair]) each.addEventListener("click", () => letGo(each));
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });

  filters.addEventListener("click", (event) => {
    const form = event.target.dataset.export;
    if (!form) return;
    const type = form === "csv" ? "text/csv;charset=utf-8" : "application/json";
    const url = URL.createObjectURL(new Blob([exported(records, table.passing, form)], { type }));
    element("a", { href: url, download: `remote-threads.${form}` }, []).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });

  document.getElementById("pairs").addEventListener("click", (event) => {
    const place = Number(event.target.dataset.pair) - 1;
    if (!(place >= 0)) return;
    const [source, target] = records.pairs[place].map((life) => records.lives[life]);
    chosenFlow = { source, target, pairs: new Set([place]) };
    apply();
    pair.focus();
  });

  // A link to a pair opens its part.
  function openLinked() {
    const part = location.hash && document.getElementById(location.hash.slice(1));
    if (part instanceof HTMLDetailsElement) {
      part.open = true;
      part.scrollIntoView();
    }
  }
  addEventListener("hashchange", openLinked);
  document.getElementById("threads").addEventListener("click", (event) => {
    if (event.target.closest("a")) setTimeout(openLinked);
  });

  // The charts take the page's colours and width anew when these change; on paper they are always light.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  function print(begins) {
    document.documentElement.classList.toggle("on-paper", begins);
    draw();
  }
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) {
      width = innerWidth;
      draw();
    }
  });

  document.documentElement.classList.remove("unscripted");
  apply();
  openLinked();
})();
