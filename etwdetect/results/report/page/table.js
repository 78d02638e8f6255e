"use strict";
// The table: one page of rows at a time, made of text alone.

class Table {
  constructor(section, records, rows) {
    this.records = records;
    this.rows = rows;
    this.passing = new Uint32Array(0);
    this.page = 0;
    this.sorting = { column: "time", descending: false };
    this.body = section.querySelector("tbody");
    this.headers = [...section.querySelectorAll("th[data-key]")];
    this.pager = section.querySelector(".pager");
    this.headers.forEach((header) => this.#makeSortable(header));
    this.hasHosts = this.headers.some((header) => header.dataset.key === "host");
    this.body.addEventListener("click", (event) => this.#toggle(event));
    this.pager.addEventListener("click", (event) => this.#turn(event.target.dataset.page));
  }

  show(passing) {
    this.passing = this.records.sort(passing, this.sorting.column, this.sorting.descending);
    this.page = 0;
    this.#render();
  }

  #makeSortable(header) {
    const button = element("button", {}, header.textContent);
    button.type = "button";
    button.addEventListener("click", () => this.#sortBy(header));
    header.replaceChildren(button);
  }

  // Opens what is known of a row below it, or closes it. A text that is being selected is no click.
  #toggle(event) {
    const row = event.target.closest("tr[data-record]");
    if (!row || event.target.closest("a") || !getSelection().isCollapsed) return;
    const opener = row.querySelector(".opener");
    const opens = opener.getAttribute("aria-expanded") !== "true";
    opener.setAttribute("aria-expanded", opens);
    if (opens) row.after(this.#known(Number(row.dataset.record)));
    else row.nextElementSibling.remove();
  }

  #known(record) {
    const { records } = this;
    const facts = [
      ["Host", records.host(record)],
      ...[["Source", records.source(record)], ["Target", records.target(record)]].flatMap(([side, { image, facts: all }]) => [
        [side, image],
        ...all.map(([name, text]) => [`${side}: ${name[0].toLowerCase()}${name.slice(1)}`, text]),
      ]),
      ["Starts at", records.start(record).long],
      ["Call stack", records.stack(record)],
      ["Evidence, rules", records.verdict(record).signs],
      ...records.verdict(record).details,
    ].filter(([, text]) => text);
    const list = facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, [element("bdi", {}, text)])]);
    return element("tr", { class: "known" }, [element("td", { colspan: this.headers.length }, [element("dl", {}, list)])]);
  }

  #sortBy(header) {
    const column = header.dataset.key;
    const descending = this.sorting.column === column && !this.sorting.descending;
    this.sorting = { column, descending };
    this.headers.forEach((each) => each.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    this.show(this.passing);
  }

  #turn(where) {
    const last = this.#lastPage();
    const pages = { first: 0, previous: Math.max(this.page - 1, 0), next: Math.min(this.page + 1, last), last };
    if (where in pages) {
      this.page = pages[where];
      this.#render();
      this.pager.scrollIntoView({ block: "nearest" }); // a shorter page may have moved it away
    }
  }

  #lastPage() {
    return Math.max(Math.ceil(this.passing.length / this.rows) - 1, 0);
  }

  #render() {
    const first = this.page * this.rows;
    const shown = this.passing.subarray(first, first + this.rows);
    this.body.replaceChildren(...Array.from(shown, (record, index) => this.#row(record, first + index + 2)));
    const all = this.passing.length;
    const words = all ? `${number(first + 1)}–${number(first + shown.length)} of ${number(all)}` : "none fits the filter";
    this.pager.querySelector("output").textContent = words;
    this.body.closest("table").setAttribute("aria-rowcount", all + 1);
    for (const button of this.pager.querySelectorAll("button")) {
      const backward = button.dataset.page === "first" || button.dataset.page === "previous";
      button.setAttribute("aria-disabled", backward ? this.page === 0 : this.page === this.#lastPage());
    }
    this.pager.hidden = all <= this.rows && all > 0;
  }

  #row(record, place) {
    const { records } = this;
    const { columns } = records;
    const { rank, severity, kind, signs } = records.verdict(record);
    const start = records.start(record);
    const repeats = columns.repeats[record];
    const opener = element("button", { type: "button", class: "opener", "aria-expanded": "false", "aria-label": "What is known of it" }, []);
    return element("tr", { "aria-rowindex": place, "data-record": record }, [
      element("td", { class: "time" }, [opener, moment(records.ms[record]), repeats > 1 && element("span", { class: "repeats" }, ` ×${number(repeats)}`)]),
      this.hasHosts && element("td", { title: records.host(record) }, [element("bdi", {}, records.host(record))]),
      element("td", {}, [element("span", { class: `tag s${rank}` }, severity)]),
      element("td", { class: "kind" }, [element("bdi", {}, kind)]),
      element("td", { title: [records.source(record).image, records.stack(record)].filter(Boolean).join("\n") }, [this.#source(record)]),
      element("td", { title: records.target(record).image }, [this.#target(record)]),
      element("td", { class: "start", title: start.long }, [element("bdi", {}, start.short)]),
      element("td", { class: "signs", title: signs }, [element("bdi", {}, signs)]),
    ]);
  }

  #source(record) {
    return element("span", { class: "life" }, life(this.records.source(record), this.records.columns.sourceThread[record]));
  }

  #target(record) {
    const { pair, newThread } = this.records.columns;
    const words = life(this.records.target(record), newThread[record]);
    if (pair[record] >= this.records.parts) return element("span", { class: "life" }, words);
    return element("a", { class: "life", href: `#pair-${pair[record] + 1}` }, words);
  }
}

function life({ name, pid }, thread) {
  return [element("bdi", {}, name), element("span", { class: "id" }, ` ${pid}:${thread ?? "?"}`)];
}

// A new element; its content is elements and texts, and texts stay texts.
function element(name, attributes, content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[content].flat().filter((each) => each !== false).map((each) => (each instanceof Node ? each : String(each))));
  return made;
}

function number(value) {
  return value.toLocaleString("en-US");
}
