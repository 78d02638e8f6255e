"""What one detector said, and how a comparison of two ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from etwdetect.comparison.pairing import Comparison, Equality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector

VERDICTS: Final = ("first", "own", "excluded", "remote")
"""The counts of a rule's verdicts that both detectors have."""


@dataclass(frozen=True)
class Side:
    """What one detector said: its records, in its order, and what it counted.

    *statistics* has "threads" (seen), VERDICTS, "unknown" (ETW), "waiting" (in the table), "evicted", and losses
    under names that begin with "lost". *kinds*: of each record, where the bench learns them.
    """

    records: Sequence[RemoteThread]
    statistics: Mapping[str, int]
    kinds: Sequence[str | None] | None = None


@dataclass(frozen=True)
class Result:
    """How one subject, a scenario or a trace, did on one bench; passed where there is no complaint.

    *notes* are worth telling and no fault, *skipped* says why the bench left the subject out, *incomplete* that
    not all of a recording could be read.
    """

    subject: str
    bench: str
    seconds: float = 0.0
    comparison: Comparison | None = None
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    statistics: Mapping[Detector, Mapping[str, int]] = field(default_factory=dict)
    skipped: str | None = None
    incomplete: bool = False

    @property
    def status(self) -> Literal["passed", "failed", "skipped"]:
        """How it ended."""
        if self.skipped is not None:
            return "skipped"
        return "failed" if self.complaints else "passed"


def describe(record: RemoteThread) -> str:
    """Return the ids of *record* as the reports show them."""
    return f"{record.creator_pid}:{record.creator_tid} -> {record.pid}:{record.tid}"


def differences(comparison: Comparison, etw: Side, driver: Side, *, same_events: bool = False) -> list[str]:
    """Return what is not equal, a sentence each.

    Counts are compared too where they must be equal: where the records must be, and neither side lost anything
    that the other had. With *same_events* both were given the same, however much was lost before.
    """
    found = [f"only ETW has {describe(record)}" for record in comparison.only_etw]
    found += [f"only the driver has {describe(record)}" for record in comparison.only_driver]
    found += [f"in another place: {describe(pair.etw)}" for pair in comparison.out_of_order]
    for pair in comparison.other_times:
        later = "later" if pair.time_difference > 0 else "earlier"
        difference = abs(pair.time_difference) * 100
        found.append(f"at another time: {describe(pair.etw)}, {difference:,} ns {later} in the driver")
    if comparison.equality is Equality.EXACT and (same_events or not (_lost(etw) or _lost(driver))):
        found += _count_differences(etw.statistics, driver.statistics)
    return found


def _lost(side: Side) -> bool:
    return any(count for name, count in side.statistics.items() if name.startswith("lost"))


def _count_differences(etw: Mapping[str, int], driver: Mapping[str, int]) -> list[str]:
    """Return which counts differ. A thread whose creator ETW does not know has a verdict from the driver alone."""
    names = ["threads", "waiting", "evicted"]
    unknown = etw.get("unknown", 0)
    more = {name: driver[name] - etw[name] for name in VERDICTS if name in driver and name in etw}
    if not unknown:
        names += VERDICTS
    elif min(more.values()) < 0 or sum(more.values()) != unknown:
        return [f"verdicts differ by {more}, which the {unknown:,} unknown creators do not explain"]
    return [
        f"{name}: {etw[name]:,} for ETW, {driver[name]:,} for the driver"
        for name in names
        if name in etw and name in driver and etw[name] != driver[name]
    ]
