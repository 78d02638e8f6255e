"""The records and counts of one detector, and the result of comparing two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from etwdetect.comparison.pairing import Comparison, Equality, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.comparison.witnesses import Witnesses
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection, Detector

RULE_COUNTS: Final = ("first", "own", "excluded", "remote")
"""The counts of the rule's outcomes for a thread start that both detectors have."""


@dataclass(frozen=True)
class Side:
    """One detector's records, in its order, and its counts.

    *statistics* has "threads" (seen), RULE_COUNTS, "unknown" (ETW only), "waiting" (in the table), "evicted", and
    losses under names that start with "lost". *detections* has what else is known of each record, if
    anything is.
    """

    records: Sequence[RemoteThread]
    statistics: Mapping[str, int]
    detections: Sequence[Detection] | None = None


@dataclass(frozen=True)
class Result:
    """The result of one subject, a scenario or a trace, on one bench; passed if it has no complaints.

    *notes* are shown but are not faults; *skipped* is the reason for which the bench skipped the subject;
    *incomplete*: a recording could not be read to its end. *witnesses* is there instead of *comparison* where
    Sysmon is one of them.
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
    witnesses: Witnesses | None = None

    @property
    def status(self) -> Literal["passed", "failed", "skipped"]:
        """The outcome."""
        if self.skipped is not None:
            return "skipped"
        return "failed" if self.complaints else "passed"


def differences(comparison: Comparison, etw: Side, driver: Side, *, same_events: bool = False) -> list[str]:
    """Return the differences, one sentence each.

    Counts are compared only with Equality.EXACT and if neither side lost events that the other had. With
    *same_events* both got the same events, whatever was lost before.
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
    """Return the counts that differ. Only the driver classifies a thread whose creator ETW does not know."""
    names = ["threads", "waiting", "evicted"]
    unknown = etw.get("unknown", 0)
    more = {name: driver[name] - etw[name] for name in RULE_COUNTS if name in driver and name in etw}
    if not unknown:
        names += RULE_COUNTS
    elif min(more.values()) < 0 or sum(more.values()) != unknown:
        return [f"counts differ by {more}, which the {unknown:,} unknown creators do not explain"]
    return [
        f"{name}: {etw[name]:,} for ETW, {driver[name]:,} for the driver"
        for name in names
        if name in etw and name in driver and etw[name] != driver[name]
    ]
