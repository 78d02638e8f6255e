"""Formats results as text: a table with a row for each, and details below."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from etwdetect.comparison.pairing import Comparison
    from etwdetect.comparison.result import Result
    from etwdetect.comparison.witnesses import Witnesses
    from etwdetect.enrich.detection import Detector

_COLUMNS: Final = (
    "result",
    "bench",
    "matched",
    "only ETW",
    "only driver",
    "order",
    "time off (max)",
    "subject",
)
_WIDTHS: Final = (7, 8, 7, 8, 11, 7, 19, 0)
_MOST_COMPLAINTS: Final = 20
_NAMES: Final[Mapping[Detector, str]] = {"etw": "ETW", "driver": "driver", "sysmon": "Sysmon"}


def heading() -> str:
    """Return the heading of the table."""
    return _line(_COLUMNS)


def row(result: Result) -> str:
    """Return the table's row for *result*."""
    return _line(
        [result.status, result.bench, *_numbers(result.comparison, result.witnesses), printable(result.subject)]
    )


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(cells, _WIDTHS, strict=True))


def _numbers(found: Comparison | None, witnesses: Witnesses | None) -> list[str]:
    if witnesses is not None:
        counts = witnesses.counts()
        numbers = [counts.get(seen, 0) for seen in (witnesses.present, ("etw",), ("driver",))]
        offset = witnesses.offset
        return [*(f"{number:,}" for number in numbers), "-", "-" if offset is None else _duration(abs(offset))]
    if found is None:
        return [""] * 5
    explained = f" (+{len(found.explained):,})" if found.explained else ""
    order = f"{len(found.out_of_order):,} off" if found.out_of_order else "same"
    only_driver = f"{len(found.only_driver):,}{explained}"
    return [f"{len(found.matched):,}", f"{len(found.only_etw):,}", only_driver, order, _times(found)]


def _times(found: Comparison) -> str:
    if not found.matched:
        return "-"
    return f"{_duration(found.median_time_difference)} ({_duration(found.largest_time_difference)})"


def _duration(units: float) -> str:
    return f"{units / 10_000:.4g} ms" if units >= 10_000 else f"{units * 100:,.0f} ns"


def details(result: Result) -> Iterator[str]:
    """Yield the lines about *result* below the table: complaints, notes and counts."""
    reason = "" if result.skipped is None else f", {printable(result.skipped)}"
    yield f"{printable(result.subject)} on the {result.bench} bench: {result.status}{reason}"
    for complaint in result.complaints[:_MOST_COMPLAINTS]:
        yield f"  {printable(complaint)}"
    if len(result.complaints) > _MOST_COMPLAINTS:
        yield f"  and {len(result.complaints) - _MOST_COMPLAINTS:,} more"
    for note in result.notes:
        yield f"  note: {printable(note)}"
    if result.comparison and result.comparison.explained:
        yield f"  expected: {len(result.comparison.explained):,} that only one side can report"
    yield from _statistics(result.statistics)


def full(result: Result) -> str:
    """Return the table and the details of one result."""
    return "\n".join((heading(), row(result), "", *details(result)))


def closing(results: Sequence[Result]) -> Iterator[str]:
    """Yield the last lines: how many passed, and the total counts of both sides."""
    number = Counter(result.status for result in results)
    seconds = sum(result.seconds for result in results)
    each = ", ".join(f"{number[status]:,} {status}" for status in ("passed", "failed", "skipped"))
    yield f"{each} in {seconds:.1f} s"
    total = {
        side: _total(result.statistics[side] for result in results if side in result.statistics)
        for side in _NAMES
        if side != "sysmon" or any(side in result.statistics for result in results)
    }
    yield from _statistics(total)


def _total(each: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in each:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _statistics(sides: Mapping[Detector, Mapping[str, int]]) -> Iterator[str]:
    """Yield the counts of each side that are not zero."""
    for side, counts in sides.items():
        counted = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
        yield f"  {_NAMES[side]:6}  {counted or 'nothing'}"
