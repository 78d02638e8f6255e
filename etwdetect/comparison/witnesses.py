"""Compares what two or three witnesses reported, of which Sysmon is one: who has which remote thread.

Sysmon does not tell the source thread, and its times move in steps of the system's tick. So its records are paired
by creator, target and new thread, nearest in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.comparison.nearest import nearest_pairs
from etwdetect.comparison.pairing import describe
from etwdetect.comparison.pairing import key as four_ids
from etwdetect.core.filetime import TICKS_PER_MILLISECOND, TICKS_PER_SECOND
from etwdetect.core.rule import EXCLUDED_PIDS
from etwdetect.enrich.tracked_process import ABOUT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from etwdetect.comparison.sysmon_rules import SysmonRules
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection, Detector

WITNESSES: Final[tuple[Detector, ...]] = ("etw", "driver", "sysmon")
NAMES: Final[Mapping[Detector, str]] = {"etw": "ETW", "driver": "the driver", "sysmon": "Sysmon"}

TICK_MARGIN: Final = 32 * TICKS_PER_MILLISECOND
"""How far from the median offset a pair can be without a mark: two steps of the system's tick."""

_JUST_STARTED: Final = TICKS_PER_SECOND
_LOSSES: Final = ("events-lost", "buffers-lost", "table-overflow")


class Sighting(NamedTuple):
    """One remote thread, as each witness that has it reported it."""

    etw: Detection | None = None
    driver: Detection | None = None
    sysmon: Detection | None = None

    @property
    def seen_by(self) -> tuple[Detector, ...]:
        """The witnesses that have it."""
        return tuple(name for name, seen in zip(WITNESSES, self, strict=True) if seen is not None)

    @property
    def first(self) -> Detection:
        """What the first of them reported, which tells most."""
        return next(seen for seen in self if seen is not None)

    @property
    def offset(self) -> int | None:
        """Sysmon's time minus that of another witness, in 100 ns units; None where there is no other."""
        other = self.etw or self.driver
        return None if other is None or self.sysmon is None else self.sysmon.thread.time - other.thread.time


@dataclass(frozen=True)
class Witnesses:
    """The remote threads that *present* witnesses reported, in the order of time.

    *unexplained* are those that a witness lacks without a known reason, *reasons* has the others' reasons.
    """

    present: tuple[Detector, ...]
    sightings: tuple[Sighting, ...]
    reasons: Mapping[int, str]
    """By the number of a sighting."""

    @property
    def unexplained(self) -> list[Sighting]:
        """What a witness lacks without a known reason."""
        lacking = (each for each in enumerate(self.sightings) if each[1].seen_by != self.present)
        return [sighting for number, sighting in lacking if number not in self.reasons]

    @property
    def offset(self) -> float | None:
        """The median of Sysmon's offsets, in 100 ns units; None where nothing was paired with it."""
        offsets = [each.offset for each in self.sightings if each.offset is not None]
        return median(offsets) if offsets else None

    @property
    def far_off(self) -> list[Sighting]:
        """The pairs with Sysmon that are more than TICK_MARGIN from the median offset."""
        middle = self.offset
        return [
            each
            for each in self.sightings
            if middle is not None and each.offset is not None and abs(each.offset - middle) > TICK_MARGIN
        ]

    def counts(self) -> dict[tuple[Detector, ...], int]:
        """Return how many were seen by which witnesses, those seen by most first."""
        counts: dict[tuple[Detector, ...], int] = {self.present: 0}
        for each in self.sightings:
            counts[each.seen_by] = counts.get(each.seen_by, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-len(item[0]), [*map(WITNESSES.index, item[0])])))


def compare_witnesses(
    records: Mapping[Detector, Sequence[Detection]], rules: SysmonRules | None = None
) -> Witnesses:
    """Pair the *records* of two or three witnesses; *rules* are those of Sysmon's configuration, where known."""
    present = tuple(name for name in WITNESSES if name in records)
    sightings = _paired([Sighting(etw=each) for each in records.get("etw", ())], records, "driver", four_ids)
    sightings = _paired(sightings, records, "sysmon", _three_ids)
    sightings.sort(key=lambda each: each.first.thread.time)
    lossy = {name for name in present if any(map(_is_lossy, records[name]))}
    reasons = {}
    for number, sighting in enumerate(sightings):
        why = [_reason(sighting, name, rules, lossy) for name in present if name not in sighting.seen_by]
        if why and None not in why:
            reasons[number] = "; ".join(str(each) for each in why)
    return Witnesses(present, tuple(sightings), reasons)


def _paired(
    sightings: list[Sighting],
    records: Mapping[Detector, Sequence[Detection]],
    name: Detector,
    key: Callable[[RemoteThread], Hashable],
) -> list[Sighting]:
    """Return *sightings* with the records of the witness *name*, paired with them or alone."""
    theirs = records.get(name, ())
    mine = [each.first.thread for each in sightings]
    pairs = dict(nearest_pairs(mine, [each.thread for each in theirs], key))
    taken = set(pairs.values())
    return [
        *(
            each._replace(**{name: theirs[pairs[number]]}) if number in pairs else each
            for number, each in enumerate(sightings)
        ),
        *(Sighting(**{name: each}) for number, each in enumerate(theirs) if number not in taken),
    ]


def _three_ids(thread: RemoteThread) -> Hashable:
    return thread.creator_pid, thread.pid, thread.tid


def _is_lossy(detection: Detection) -> bool:
    return any(each.startswith(_LOSSES) for each in detection.thread.evidence)


def _reason(sighting: Sighting, lacking: Detector, rules: SysmonRules | None, lossy: set[Detector]) -> str | None:
    """Return the known reason for which the witness *lacking* does not have *sighting*; None without one."""
    thread = sighting.first.thread
    if lacking == "sysmon":
        excluded = rules.why_not(sighting.first) if rules else None
        if excluded:
            return excluded
    elif not EXCLUDED_PIDS.isdisjoint((thread.creator_pid, thread.pid)):
        return f"{NAMES[lacking]} excludes the ids of Idle and System"
    elif _just_started(sighting):
        return f"its process had just started: to {NAMES[lacking]} it is the first thread"
    if lacking in lossy:
        return f"{NAMES[lacking]} lost events"
    evidence = [each for seen in sighting if seen is not None for each in seen.thread.evidence]
    uncertain = [each for each in evidence if each not in ABOUT_NAMES]
    return f"it may be a first thread ({', '.join(uncertain)})" if uncertain else None


def _just_started(sighting: Sighting) -> bool:
    """Whether the target is known to have started just before, and Sysmon alone says that the thread is remote."""
    started = sighting.first.target.start_time
    only = sighting.seen_by == ("sysmon",)
    return only and started is not None and 0 <= sighting.first.thread.time - started <= _JUST_STARTED


def lines(witnesses: Witnesses) -> Iterator[str]:
    """Yield the lines about the comparison: who has what, Sysmon's clock, and the reasons."""
    for seen_by, count in witnesses.counts().items():
        everyone = seen_by == witnesses.present
        yield f"{'all of ' if everyone else 'only ' if len(seen_by) == 1 else ''}{_and(seen_by)}: {count:,}"
    offset = witnesses.offset
    if offset is not None:
        later = "after" if offset >= 0 else "before"
        yield f"Sysmon's times are {abs(offset) / TICKS_PER_MILLISECOND:.4g} ms {later} the others' (median)"
    for sighting in witnesses.far_off:
        apart = (sighting.offset or 0) / TICKS_PER_MILLISECOND
        yield f"{describe(sighting.first.thread)} is {apart:.4g} ms off, more than 32 ms from the median"
    for number, why in witnesses.reasons.items():
        yield f"{has(witnesses.sightings[number], witnesses.present)}: {why}"


def has(sighting: Sighting, present: Sequence[Detector]) -> str:
    """Return who has *sighting* and who does not."""
    lacking = [name for name in present if name not in sighting.seen_by]
    verb = "have" if len(sighting.seen_by) > 1 else "has"
    return f"{_and(sighting.seen_by)} {verb} {describe(sighting.first.thread)}, {_and(lacking)} not"


def _and(names: Sequence[Detector]) -> str:
    told = [NAMES[name] for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
