"""The data for the page's scripts: the records in columns, every text once, as JSON that HTML can hold."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from etwdetect.results.report import labels
from etwdetect.results.report.sections import PROCESS_LABELS, process_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.results.report.records import Records, ReportedProcess
    from etwdetect.results.report.sections import Ranked

_NOT_IN_HTML: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""In JSON they are in strings alone, where an escape means the same."""


def script_json(value: object) -> str:
    r"""Return *value* as ASCII JSON that can't end a script element, whatever is in it.

    >>> script_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    return json.dumps(value, separators=(",", ":")).translate(_NOT_IN_HTML)


def of(records: Records, ranked: Ranked, in_order: Sequence[int], sections: int) -> dict[str, Any]:
    """Return the data of *records*; *in_order* has the numbers of the records in order of time.

    Pairs are numbered as `Ranked` ranks them, and the first *sections* have a section on the page. Times are in
    units of 100 ns: the first as a FILETIME in decimal, each other one as the difference to the one before.
    """
    pairs = records.pairs
    place_of_pair = {pair: place for place, pair in enumerate(ranked.order)}
    hosts = hosts_of(records)
    host_number = {host: number for number, host in enumerate(hosts)}
    times = [records.times[each] for each in in_order]
    return {
        "parts": sections,
        "first": str(times[0] if times else 0),
        "hosts": [labels.shown(host) for host in hosts],
        "lives": [_process(each, host_number) for each in records.processes],
        "pairs": [pairs[pair] for pair in ranked.order],
        "starts": [(labels.start_short(start), labels.start_long(start)) for start in records.starts],
        "stacks": [labels.shown(stack) for stack in records.stacks],
        "verdicts": [
            (
                labels.severity_rank(assessment.severity),
                labels.severity(assessment),
                labels.kind(assessment),
                labels.signs(assessment),
                labels.details(assessment),
            )
            for assessment in records.assessments
        ],
        "records": {
            "time": [0, *(later - earlier for earlier, later in pairwise(times))] if times else [],
            "pair": [place_of_pair[records.pair_of[each]] for each in in_order],
            "sourceThread": [records.source_thread(each) for each in in_order],
            "newThread": [records.new_threads[each] for each in in_order],
            "start": [records.start_of[each] for each in in_order],
            "stack": [records.stack_of[each] for each in in_order],
            "verdict": [records.assessment_of[each] for each in in_order],
            "repeats": [records.repeats[each] for each in in_order],
        },
    }


def hosts_of(records: Records) -> list[str]:
    """Return the machines in *records*, in the order of their names."""
    return sorted({each.host for each in records.processes if each.host is not None})


def _process(reported: ReportedProcess, host_number: Mapping[str, int]) -> tuple[Any, ...]:
    """Return name, id, image, the number of the host (-1 if not known), and what else is known by name."""
    process = reported.process
    facts = [
        (label, cell.text)
        for name, label in PROCESS_LABELS.items()
        if name != "Image" and (cell := process_cell(name, reported)).is_known
    ]
    host = -1 if reported.host is None else host_number[reported.host]
    return labels.program(process.image), process.pid, labels.shown(process.image or ""), host, facts
