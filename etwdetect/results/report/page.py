"""Puts the page together: the HTML that needs no script, the data, the scripts, and what may run at all."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from etwdetect.results.report import data, labels, limits
from etwdetect.results.report.sections import Ranked
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.results.report.inputs import ReportInput
    from etwdetect.results.report.records import Records

MAX_SECTIONS: Final = 200
"""How many pairs get a section on the page."""
ROWS: Final = 50
"""How many rows the table shows at once; the first ones are there without a script."""
MAX_LISTED: Final = 1_000
"""How many warnings, notes or inputs are listed."""

_HERE: Final = Path(__file__).parent
_SCRIPTS: Final = (
    "page/guard.js",
    "vendor/echarts.min.js",
    "page/records.js",
    "page/export.js",
    "page/charts.js",
    "page/table.js",
    "page/main.js",
)
"""In the order they run."""
_STYLE: Final = "page/page.css"


def render(
    records: Records,
    inputs: Sequence[ReportInput],
    version: str,
    filtered_out: int = 0,
    compared: Sequence[str] = (),
) -> str:
    """Return the page, made by *version* of etwdetect; the same for the same arguments.

    *compared* are lines about which detector has which remote threads.
    """
    ranked = Ranked(records)
    in_order = sorted(range(len(records)), key=records.times.__getitem__)
    section_count = min(ranked.count, MAX_SECTIONS)
    scripts = [_read(name) for name in _SCRIPTS]
    style = _read(_STYLE)
    return _template().render(
        version=version,
        policy=_policy(scripts, style),
        style=style,
        scripts=scripts,
        data=data.script_json({**data.of(records, ranked, in_order, section_count), "rows": ROWS}),
        inputs=inputs,
        most_listed=MAX_LISTED,
        records=records,
        filtered_out=filtered_out,
        compared=compared,
        losses=_losses(records),
        first=labels.moment(records.times[in_order[0]]) if in_order else None,
        last=labels.moment(max(records.last_times)) if in_order else None,
        threads=sum(records.counts.values()),
        pairs=ranked.count,
        section_count=section_count,
        severities=_severities(records),
        matrix=_matrix(records),
        has_hosts=len(data.hosts_of(records)) > 1,
        rows=[_row(records, ranked, section_count, each) for each in in_order[:ROWS]],
        sections=ranked.sections(section_count),
        limits=limits,
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """Return the Content-Security-Policy: nothing is loaded, and only scripts of this page run.

    Trusted types keep every script from making HTML of text; the one policy, in guard.js, allows only empty text.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types default",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(_HERE / "page"),
    )
    environment.filters.update(plural=plural, shown=labels.shown)
    return environment.get_template("report.html.j2")


def _losses(records: Records) -> list[str]:
    """Return the evidence of losses, which saved records have no other trace of."""
    evidence = {word for assessment in records.assessments for word in assessment.evidence}
    return sorted(word for word in evidence if word.partition(":")[0] in limits.LOSSES)


def _severities(records: Records) -> list[str | None]:
    return sorted(
        {severity for _, severity in records.counts}, key=lambda each: (labels.severity_rank(each), each or "")
    )


def _matrix(records: Records) -> list[tuple[str, list[int], int]]:
    """Return a line for each kind: its name, the counts by severity, and their sum; the most frequent first."""
    severities = _severities(records)
    lines = []
    for kind in {kind for kind, _ in records.counts}:
        counts = [records.counts[kind, severity] for severity in severities]
        lines.append((labels.shown(kind) if kind is not None else labels.NO_KIND, counts, sum(counts)))
    return sorted(lines, key=lambda line: (-line[2], line[0]))


def _row(records: Records, ranked: Ranked, section_count: int, number: int) -> Mapping[str, Any]:
    """Return what the table's row of a record shows."""
    pair = records.pair_of[number]
    place = ranked.order.index(pair)
    source, target = (records.processes[each].process for each in records.pairs[pair])
    source_thread = records.source_thread(number)
    start = records.starts[records.start_of[number]]
    stack = records.stacks[records.stack_of[number]]
    assessment = records.assessments[records.assessment_of[number]]
    return {
        "time": labels.moment(records.times[number]),
        "host": labels.shown(records.processes[records.pairs[pair][1]].host or ""),
        "severity": labels.severity(assessment),
        "rank": labels.severity_rank(assessment.severity),
        "kind": labels.kind(assessment),
        "source": (labels.program(source.image), source.pid, "?" if source_thread is None else source_thread),
        "target": (labels.program(target.image), target.pid, records.new_threads[number]),
        "source_title": "\n".join(labels.shown(text) for text in (source.image, stack) if text),
        "target_image": labels.shown(target.image or ""),
        "start": labels.start_short(start),
        "start_long": labels.start_long(start),
        "signs": labels.signs(assessment),
        "repeats": records.repeats[number],
        "section": place + 1 if place < section_count else None,
    }
