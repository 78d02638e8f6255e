"use strict";
// The records in columns, and what is asked of them: which pass a filter, in which order, how many when.
// Knows nothing of the page, so that node can run it too.

const TICKS_IN_MS = 10000n;
const UNIX_EPOCH_MS = 11644473600000; // after 1601, where FILETIMEs begin
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const FEW_FLOWS = 8; // are drawn each, even if they say the same
const ROUND_MS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((each) => each * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((each) => each * MINUTE),
  ...[1, 2, 3, 6, 12].map((each) => each * HOUR),
  ...[1, 2, 7, 14, 28, 91, 364].map((each) => each * DAY),
];

class Records {
  constructor(data) {
    this.hosts = data.hosts;
    this.lives = data.lives.map(([name, pid, image, host, facts]) => ({ name, pid, image, host: data.hosts[host] ?? "", facts, label: `${name} ${pid}` }));
    this.pairs = data.pairs;
    this.parts = data.parts;
    this.starts = data.starts.map(([short, long]) => ({ short, long }));
    this.stacks = data.stacks;
    this.verdicts = data.verdicts.map(([rank, severity, kind, signs, details]) => ({ rank, severity, kind, signs, details }));
    this.columns = data.records;
    this.length = data.records.pair.length;
    this.ms = this.#milliseconds(BigInt(data.first), data.records.time);
    this.#keys = new Map();
    this.#texts = {
      life: this.lives.map((each) => lower(each.image, each.label, each.host, ...each.facts.flat())),
      start: this.starts.map((each) => lower(each.short, each.long)),
      stack: this.stacks.map((each) => lower(each)),
      verdict: this.verdicts.map((each) => lower(each.severity, each.kind, each.signs, ...each.details.flat())),
    };
  }

  #keys;
  #texts;

  // Milliseconds since 1970, cut off as everywhere in etwdetect. The columns hold the 100 ns between records.
  #milliseconds(first, differences) {
    const firstMs = Number(first / TICKS_IN_MS) - UNIX_EPOCH_MS;
    let ticks = Number(first % TICKS_IN_MS);
    return Float64Array.from(differences, (difference) => {
      ticks += difference;
      return firstMs + Math.floor(ticks / Number(TICKS_IN_MS));
    });
  }

  // The machine it happened on; the empty text where that is not known.
  host(record) {
    return this.target(record).host;
  }

  source(record) {
    return this.lives[this.pairs[this.columns.pair[record]][0]];
  }

  target(record) {
    return this.lives[this.pairs[this.columns.pair[record]][1]];
  }

  start(record) {
    return this.starts[this.columns.start[record]];
  }

  // The creator's call stack; the empty text for none.
  stack(record) {
    return this.stacks[this.columns.stack[record]];
  }

  verdict(record) {
    return this.verdicts[this.columns.verdict[record]];
  }

  // The numbers of the records that pass: every word of `text` is found, and all else that is given fits.
  filter({ text = "", host = "", severity = "", kind = "", range = null, chosen = null }) {
    const { pair: pairs, verdict: verdicts } = this.columns;
    const fits = this.verdicts.map((each) => (!severity || each.severity === severity) && (!kind || each.kind === kind));
    const words = text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => this.#matcher(word));
    const passing = new Uint32Array(this.length);
    let count = 0;
    for (let record = 0; record < this.length; record++) {
      if (!fits[verdicts[record]]) continue;
      if (host && this.host(record) !== host) continue;
      if (chosen && !chosen.has(pairs[record])) continue;
      if (range && (this.ms[record] < range[0] || this.ms[record] >= range[1])) continue;
      if (words.every((matches) => matches(record))) passing[count++] = record;
    }
    return passing.slice(0, count);
  }

  #matcher(word) {
    const has = (texts) => texts.map((text) => text.includes(word));
    const [life, start, stack, verdict] = ["life", "start", "stack", "verdict"].map((each) => has(this.#texts[each]));
    const pairMatches = this.pairs.map(([source, target]) => life[source] || life[target]);
    const id = /^\d+$/.test(word) ? Number(word) : -1;
    const { pair, start: starts, stack: stacks, verdict: verdicts, sourceThread, newThread } = this.columns;
    const isTime = /^[\d:.-]*\d[-:][\d:.-]*$/.test(word);
    return (record) =>
      (isTime && moment(this.ms[record]).includes(word)) ||
      pairMatches[pair[record]] ||
      start[starts[record]] ||
      stack[stacks[record]] ||
      verdict[verdicts[record]] ||
      sourceThread[record] === id ||
      newThread[record] === id;
  }

  // Orders `passing` in place by a column; records that are equal in it stay in order of time.
  sort(passing, column, descending) {
    const keys = this.#keysOf(column);
    const sign = descending ? -1 : 1;
    return passing.sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
  }

  // A number for each record, by which a column sorts. Texts are ranked once, so that sorting compares numbers.
  #keysOf(column) {
    if (!this.#keys.has(column)) this.#keys.set(column, this.#makeKeys(column));
    return this.#keys.get(column);
  }

  #makeKeys(column) {
    const { pair, start, verdict } = this.columns;
    const byVerdict = (text) => {
      const ranks = ranked(this.verdicts.map(text));
      return verdict.map((each) => ranks[each]);
    };
    const byLife = (side) => {
      const ranks = ranked(this.lives.map((each) => each.name), this.lives.map((each) => each.pid));
      return pair.map((each) => ranks[this.pairs[each][side]]);
    };
    switch (column) {
      case "time":
        return Uint32Array.from(pair.keys());
      case "severity":
        return verdict.map((each) => this.verdicts[each].rank);
      case "host": {
        const ranks = ranked(this.lives.map((each) => each.host));
        return pair.map((each) => ranks[this.pairs[each][1]]);
      }
      case "kind":
        return byVerdict((each) => each.kind);
      case "signs":
        return byVerdict((each) => each.signs);
      case "source":
        return byLife(0);
      case "target":
        return byLife(1);
      case "start": {
        const ranks = ranked(this.starts.map((each) => each.short));
        return start.map((each) => ranks[each]);
      }
      default:
        return this.columns[column];
    }
  }

  // Threads by severity in at most `most` stretches of a round length, over `span`, or the time of all records.
  histogram(passing, most, span = null) {
    const [begin, end] = span ? [span[0], Math.max(span[1] - 1, span[0])] : this.span();
    const width = ROUND_MS.find((each) => Math.floor(end / each) - Math.floor(begin / each) < most) ?? Math.ceil((end - begin + 1) / most);
    const first = Math.floor(begin / width) * width;
    const bins = Math.floor((end - first) / width) + 1;
    const ranks = [...new Map(this.verdicts.map((each) => [each.rank, each.severity]))].sort(([a], [b]) => a - b);
    const rows = ranks.map(([rank, severity]) => ({ rank, severity, counts: new Array(bins).fill(0) }));
    const ofRank = new Map(rows.map((row) => [row.rank, row.counts]));
    for (const record of passing) {
      const bin = Math.floor((this.ms[record] - first) / width);
      if (bin >= 0 && bin < bins) ofRank.get(this.verdict(record).rank)[bin] += this.columns.repeats[record];
    }
    return { first, width, bins, rows };
  }

  // The first and the last time, in milliseconds since 1970.
  span() {
    return this.length ? [this.ms[0], this.ms[this.length - 1]] : [0, 0];
  }

  // Who created what in whom: [{source, target, pairs, kind, severity, rank, threads}], the worst first. Between
  // lives; or between programs where there would be more than `mostLives`, or where most flows say the same.
  flows(passing, mostLives) {
    const threads = new Map(); // by pair and verdict, in one number
    for (const record of passing) {
      const both = this.columns.pair[record] * this.verdicts.length + this.columns.verdict[record];
      threads.set(both, (threads.get(both) ?? 0) + this.columns.repeats[record]);
    }
    const lives = new Set([...threads.keys()].flatMap((both) => this.pairs[Math.floor(both / this.verdicts.length)]));
    const grouped = this.#flowsBetween(threads, ({ name }) => ({ key: name, label: name }));
    if (lives.size > mostLives) return { byLife: false, flows: grouped };
    const flows = this.#flowsBetween(threads, ({ label }, life) => ({ key: life, label }));
    const repeats = flows.length > FEW_FLOWS && flows.length >= 2 * grouped.length;
    return { byLife: !repeats, flows: repeats ? grouped : flows };
  }

  #flowsBetween(threads, node) {
    const flows = new Map();
    for (const [both, count] of threads) {
      const pair = Math.floor(both / this.verdicts.length);
      const { rank, severity, kind } = this.verdicts[both % this.verdicts.length];
      const [source, target] = this.pairs[pair].map((life) => node(this.lives[life], life));
      const key = JSON.stringify([source.key, target.key, rank, kind]);
      const flow = flows.get(key) ?? { source, target, pairs: new Set(), kind, severity, rank, threads: 0 };
      flow.pairs.add(pair);
      flow.threads += count;
      flows.set(key, flow);
    }
    return [...flows.values()].sort((a, b) => a.rank - b.rank || b.threads - a.threads || firstOf(a.pairs) - firstOf(b.pairs));
  }
}

function firstOf(set) {
  return set.values().next().value;
}

// YYYY-MM-DD HH:MM:SS.mmm in UTC.
function moment(ms) {
  return new Date(ms).toISOString().replace("T", " ").replace("Z", "");
}

function lower(...texts) {
  return texts.join("\n").toLowerCase();
}

// The place of each text among all, by letters and then by `second`; equal ones share a place.
function ranked(texts, second = texts.map(() => 0)) {
  const order = texts.map((_, index) => index);
  const compare = (a, b) => collate(texts[a], texts[b]) || second[a] - second[b];
  order.sort(compare);
  const ranks = new Uint32Array(texts.length);
  order.forEach((index, place) => {
    ranks[index] = place > 0 && compare(order[place - 1], index) === 0 ? ranks[order[place - 1]] : place;
  });
  return ranks;
}

// Case-blind, the same in every language.
function collate(a, b) {
  const [first, second] = [a.toLowerCase(), b.toLowerCase()];
  return first < second ? -1 : Number(first > second);
}
