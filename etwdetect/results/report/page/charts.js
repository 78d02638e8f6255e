"use strict";
// The timeline and the graph, drawn by Apache ECharts. All texts go to a canvas; colours are the page's own.

const DRAG = 6; // pixels: what is less is a click
const BAR = 10; // pixels, at the least
const MOST_FLOWS = 25;
const MOST_LIVES = 40; // more are drawn by program
const BAND = 64; // pixels of a line of the timeline
const NODE = 28; // pixels of a line of the graph
const [LEFT, RIGHT] = [130, 20]; // pixels beside the timeline

class Chart {
  #box;
  #chart = null;

  constructor(box) {
    this.#box = box;
  }

  // Where it begins, from the top of the window.
  get top() {
    return this.#box.getBoundingClientRect().top;
  }

  get width() {
    return this.#box.clientWidth;
  }

  draw(option, height) {
    this.#box.style.height = `${height}px`;
    if (this.#chart) this.#chart.dispose();
    this.#chart = echarts.init(this.#box, null, { renderer: "canvas", devicePixelRatio: Math.max(window.devicePixelRatio, 2) });
    this.#chart.setOption({ animation: false, textStyle: { fontFamily: "system-ui, sans-serif" }, ...option });
    return this.#chart;
  }
}

// The colours of the style sheet, as they are now; on paper always the light ones.
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: colour("ink"), muted: colour("muted"), line: colour("line"), paper: colour("paper"), severity: (rank) => colour(`s${rank}`) };
}

class Timeline extends Chart {
  // `choose` is given the stretch of a bar, `zoom` one that was dragged over; both in milliseconds.
  constructor(section, records, choose, zoom) {
    super(section.querySelector(".chart"));
    this.records = records;
    this.choose = choose;
    this.#brush(section.querySelector(".chart"), zoom);
    this.hint = section.querySelector(".hint");
    this.words = section.querySelector(".words-of-chart");
  }

  #brush(box, zoom) {
    const band = element("div", { class: "brush" }, []);
    let from = null;
    const across = (event) => Math.min(Math.max(event.clientX - box.getBoundingClientRect().left, LEFT), this.width - RIGHT);
    const end = () => {
      band.remove();
      from = null;
    };
    box.addEventListener("pointerdown", (event) => {
      if (event.button === 0) from = across(event);
    });
    addEventListener("pointermove", (event) => {
      if (from === null || Math.abs(across(event) - from) < DRAG) return;
      if (!band.isConnected) box.append(band);
      band.style.left = `${Math.min(from, across(event))}px`;
      band.style.width = `${Math.abs(across(event) - from)}px`;
    });
    addEventListener("pointerup", (event) => {
      if (from !== null && band.isConnected) {
        const { first, width, bins } = this.shown;
        const timeAt = (x) => first + ((x - LEFT) / (this.width - LEFT - RIGHT)) * bins * width;
        const [begin, last] = [from, across(event)].sort((a, b) => a - b).map(timeAt);
        this.dragged = true;
        zoom([Math.floor(begin), Math.ceil(last)]);
      }
      end();
    });
    addEventListener("pointercancel", end);
  }

  // `span` is the part of the time that is shown, or null for all.
  show(passing, span) {
    const histogram = this.records.histogram(passing, Math.max((this.width - LEFT - RIGHT) / BAR, 10), span);
    const { first, width, bins, rows } = histogram;
    this.shown = histogram;
    const stretch = ([centre]) => [centre - width / 2, centre + width / 2];
    const { ink, muted, line, paper, severity } = palette();
    const isLast = (index) => index === rows.length - 1;
    const most = rows.map((row) => Math.max(...row.counts, 1));
    const chart = this.draw(
      {
        useUTC: true,
        tooltip: {
          renderMode: "richText",
          backgroundColor: paper,
          borderColor: line,
          textStyle: { color: ink },
          formatter: ({ seriesIndex, value }) =>
            `${stretch(value).map(moment).join(" – ")}\n${rows[seriesIndex].severity}: ${number(value[1])}`,
        },
        grid: rows.map((_, index) => ({ left: LEFT, right: RIGHT, top: 10 + index * BAND, height: BAND - 22 })),
        xAxis: rows.map((_, index) => ({
          gridIndex: index,
          type: "time",
          min: first,
          max: first + bins * width,
          axisLine: { lineStyle: { color: line } },
          axisTick: { show: isLast(index), lineStyle: { color: line } },
          axisLabel: { show: isLast(index), color: muted, hideOverlap: true },
          splitLine: { show: false },
        })),
        yAxis: rows.map((row, index) => ({
          gridIndex: index,
          name: row.severity,
          nameLocation: "middle",
          nameRotate: 0,
          nameGap: 64,
          nameTextStyle: { color: ink, align: "center" },
          max: most[index],
          interval: most[index],
          axisLabel: { color: muted, formatter: number },
          splitLine: { show: false },
        })),
        series: rows.map((row, index) => ({
          type: "bar",
          xAxisIndex: index,
          yAxisIndex: index,
          barWidth: Math.max((this.width - LEFT - RIGHT) / bins - 1, 2),
          barMinHeight: 2,
          itemStyle: { color: severity(row.rank) },
          data: row.counts.map((count, bin) => [first + (bin + 0.5) * width, count]).filter(([, count]) => count),
        })),
      },
      10 + rows.length * BAND + 10,
    );
    chart.on("mousedown", () => {
      this.dragged = false;
    });
    chart.on("click", ({ value }) => {
      if (!this.dragged) this.choose(stretch(value));
    });
    this.hint.textContent = `Threads over time in UTC, a line for each severity; each bar is ${inUnits(width)}. Choose a bar to keep its time, drag over bars to see that time larger.`;
    this.words.textContent = inWords(rows, first, width);
  }
}

function inUnits(ms) {
  for (const [unit, name] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [SECOND, "s"]]) {
    if (ms >= unit && ms % unit === 0) return `${ms / unit} ${name}`;
  }
  return `${ms} ms`;
}

// What the timeline shows, for those who don't see it.
function inWords(rows, first, width) {
  return rows
    .map(({ severity, counts }) => {
      const most = Math.max(...counts);
      const sum = counts.reduce((a, b) => a + b, 0);
      return sum ? `${severity}: ${number(sum)}, most (${number(most)}) from ${moment(first + counts.indexOf(most) * width)}` : `${severity}: none`;
    })
    .join("; ")
    .concat(".");
}

class Graph extends Chart {
  constructor(section, records, choose) {
    super(section.querySelector(".chart"));
    this.records = records;
    this.choose = choose;
    this.hint = section.querySelector(".hint");
  }

  show(passing) {
    const { byLife, flows } = this.records.flows(passing, MOST_LIVES);
    const shown = flows.slice(0, MOST_FLOWS);
    const { ink, muted, line, paper, severity } = palette();
    const margin = Math.min(this.width * 0.28, 260);
    const { nodes, links, lines } = inColumns(shown, this.width - 2 * margin > 300);
    const label = (position, width) => ({ position, width, color: ink, overflow: "truncate", formatter: ({ data }) => data.words });
    const band = ({ flow }) => ({ color: severity(shown[flow].rank), opacity: 0.35 });
    const looks = {
      source: { label: label("left", margin - 20), itemStyle: { color: muted } },
      flow: { label: label("inside", this.width - 2 * margin - 60) },
      target: { label: label("right", margin - 20), itemStyle: { color: muted } },
    };
    const chart = this.draw(
      {
        tooltip: {
          renderMode: "richText",
          backgroundColor: paper,
          borderColor: line,
          textStyle: { color: ink },
          formatter: ({ data }) => (data.flow === undefined ? data.words : flowInWords(shown[data.flow])),
        },
        series: {
          type: "sankey",
          left: margin,
          right: margin,
          top: 8,
          bottom: 8,
          nodeWidth: 8,
          nodeGap: 12,
          draggable: false,
          emphasis: { focus: "trajectory" },
          data: nodes.map((node) => ({ ...node, ...looks[node.column], ...(node.column === "flow" && { itemStyle: band(node) }) })),
          links: links.map((link) => ({ ...link, lineStyle: band(link) })),
        },
      },
      lines * NODE + 16,
    );
    chart.on("click", ({ data }) => {
      if (data.flow !== undefined) this.choose(shown[data.flow]);
    });
    const what = byLife ? "processes" : "programs, all processes of a name together";
    const rest = flows.length - shown.length;
    this.hint.textContent =
      `Sources on the left, targets on the right: ${what}. Choose a band to keep its pair.` +
      (rest ? ` The ${number(shown.length)} worst of ${number(flows.length)} bands are drawn; the table has all.` : "");
  }
}

// Three columns, so that nothing can be circular: sources, what they did, and targets. A process that is both a
// source and a target is in two of them. Flows are numbers here: the library copies what it is given.
function inColumns(flows, hasRoom) {
  const nodes = new Map();
  const node = (column, key, words, flow) => {
    const name = `${column} ${key}`;
    if (!nodes.has(name)) nodes.set(name, { name, column, words, flow });
    return name;
  };
  const links = flows.flatMap((flow, index) => {
    const source = node("source", flow.source.key, flow.source.label);
    const middle = node("flow", index, hasRoom ? flowLabel(flow) : number(flow.threads), index);
    const target = node("target", flow.target.key, flow.target.label);
    const value = 1 + Math.log2(flow.threads);
    return [{ source, target: middle, value, flow: index }, { source: middle, target, value, flow: index }];
  });
  return { nodes: [...nodes.values()], links, lines: Math.max(flows.length, 2) };
}

function flowLabel({ threads, kind, severity }) {
  return `${number(threads)} × ${kind}, ${severity}`;
}

function flowInWords(flow) {
  return `${flow.source.label} → ${flow.target.label}\n${flowLabel(flow)}`;
}
