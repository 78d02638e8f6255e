"use strict";
// The filtered rows as csv or json, in the order of the table. Knows nothing of the page, so that node can run it too.

const EXPORTED = {
  Time: (records, record) => `${moment(records.ms[record]).replace(" ", "T")}Z`,
  Host: (records, record) => records.host(record),
  Severity: (records, record) => records.verdict(record).severity,
  Kind: (records, record) => records.verdict(record).kind,
  SourceImage: (records, record) => records.source(record).image,
  SourceProcessId: (records, record) => records.source(record).pid,
  SourceThreadId: (records, record) => records.columns.sourceThread[record] ?? "",
  TargetImage: (records, record) => records.target(record).image,
  TargetProcessId: (records, record) => records.target(record).pid,
  NewThreadId: (records, record) => records.columns.newThread[record],
  Start: (records, record) => records.start(record).long,
  Count: (records, record) => records.columns.repeats[record],
  EvidenceAndRules: (records, record) => records.verdict(record).signs,
};
const BYTE_ORDER_MARK = "\ufeff"; // without which Excel takes UTF-8 for a code page

function exported(records, passing, form) {
  const names = Object.keys(EXPORTED);
  const rows = Array.from(passing, (record) => names.map((name) => EXPORTED[name](records, record)));
  if (form === "json") return JSON.stringify(rows.map((row) => Object.fromEntries(row.map((value, index) => [names[index], value]))), null, 1);
  return BYTE_ORDER_MARK + [names, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// A cell in which no spreadsheet sees a formula, in quotes where it must be.
function cell(value) {
  const text = String(value);
  const safe = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return /[",;\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
