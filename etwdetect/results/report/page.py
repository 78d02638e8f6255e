"""Puts the page together: what can be read without a script, the data, the scripts, and what may run at all."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from etwdetect.results.report import data, limits, words
from etwdetect.results.report.pairs import Ranked
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.results.report.origins import Origin
    from etwdetect.results.report.records import Records

MOST_PARTS: Final = 200
"""How many pairs get a part of the page."""
ROWS: Final = 50
"""How many rows the table shows at once; the first ones are there without a script."""
MOST_TOLD: Final = 1_000
"""How many warnings, notes or inputs are listed."""

_HERE: Final = Path(__file__).parent
_SCRIPTS: Final = (
    "page/guard.js",
    "vendor/echarts.min.js",
    "page/records.js",
    "page/charts.js",
    "page/table.js",
    "page/main.js",
)
"""In the order they run."""
_STYLE: Final = "page/page.css"


def render(records: Records, origins: Sequence[Origin], version: str, filtered_out: int = 0) -> str:
    """Return the page, made by *version* of etwdetect; the same for the same arguments."""
    ranked = Ranked(records)
    in_order = sorted(range(len(records)), key=records.times.__getitem__)
    parts = min(ranked.count, MOST_PARTS)
    scripts = [_read(name) for name in _SCRIPTS]
    style = _read(_STYLE)
    return _template().render(
        version=version,
        policy=_policy(scripts, style),
        style=style,
        scripts=scripts,
        data=data.script_json({**data.of(records, ranked, in_order, parts), "rows": ROWS}),
        origins=origins,
        most_told=MOST_TOLD,
        records=records,
        filtered_out=filtered_out,
        losses=_losses(records),
        first=words.moment(records.times[in_order[0]]) if in_order else None,
        last=words.moment(max(records.last_times)) if in_order else None,
        threads=sum(records.counts.values()),
        pairs=ranked.count,
        parts_shown=parts,
        severities=_severities(records),
        matrix=_matrix(records),
        rows=[_row(records, ranked, parts, each) for each in in_order[:ROWS]],
        parts=ranked.parts(parts),
        limits=limits,
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """Return the Content-Security-Policy: nothing is loaded, and nothing runs but what stands in this page.

    Trusted types keep any script from making HTML out of text; guard.js has the one policy, for the empty text.
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
    environment.filters.update(plural=plural, shown=words.shown)
    return environment.get_template("report.html.j2")


def _losses(records: Records) -> list[str]:
    """Return the evidence that tells of losses: of saved records nothing else does."""
    words_of_all = {word for verdict in records.verdicts for word in verdict.evidence}
    return sorted(word for word in words_of_all if word.partition(":")[0] in limits.LOSSES)


def _severities(records: Records) -> list[str | None]:
    return sorted(
        {severity for _, severity in records.counts}, key=lambda each: (words.severity_rank(each), each or "")
    )


def _matrix(records: Records) -> list[tuple[str, list[int], int]]:
    """Return a line for each kind: its name, the counts by severity, and their sum; the most frequent first."""
    severities = _severities(records)
    lines = []
    for kind in {kind for kind, _ in records.counts}:
        counts = [records.counts[kind, severity] for severity in severities]
        lines.append((words.shown(kind) if kind is not None else words.NO_KIND, counts, sum(counts)))
    return sorted(lines, key=lambda line: (-line[2], line[0]))


def _row(records: Records, ranked: Ranked, parts: int, number: int) -> Mapping[str, Any]:
    """Return what the table's row of a record shows."""
    pair = records.pair_of[number]
    place = ranked.order.index(pair)
    source, target = (records.lives[each].process for each in records.pairs[pair])
    start = records.starts[records.start_of[number]]
    verdict = records.verdicts[records.verdict_of[number]]
    return {
        "time": words.moment(records.times[number]),
        "severity": words.severity(verdict),
        "rank": words.severity_rank(verdict.severity),
        "kind": words.kind(verdict),
        "source": (words.program(source.image), source.pid, records.source_threads[number]),
        "target": (words.program(target.image), target.pid, records.new_threads[number]),
        "source_image": words.shown(source.image or ""),
        "target_image": words.shown(target.image or ""),
        "start": words.start_short(start),
        "start_long": words.start_long(start),
        "signs": words.signs(verdict),
        "repeats": records.repeats[number],
        "part": place + 1 if place < parts else None,
    }
