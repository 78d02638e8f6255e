"""Evaluates an observation: whether both sides are equal and report what the scenario expects."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from etwdetect.comparison.pairing import Comparison, Equality, compare, describe, explain
from etwdetect.comparison.result import Result, Side, differences
from etwdetect.enrich.call_fields import CALL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector
    from parity_tests.scenario import Expected, Scenario
    from parity_tests.steps import ThreadRef

_MOST_SHOWN: Final = 10


class Ids(Protocol):
    """The ids of the processes and threads of a scenario, by name; a thread id of None is not known."""

    def pid_of(self, process: str, /) -> int:
        """Return the id of a process."""

    def tid_of(self, thread: ThreadRef, /) -> int | None:
        """Return the id of a thread."""


@dataclass(frozen=True)
class Observation:
    """The reports of both detectors on a bench. With Equality.LIVE, the records between the two markers.

    *minimal* names the minimal processes among those of the records. *notes* are shown with the result.
    """

    etw: Side
    driver: Side
    equality: Equality
    ids: Ids
    notes: tuple[str, ...] = ()
    minimal: Mapping[int, str] = field(default_factory=dict)


class ExpectedRecord(NamedTuple):
    """An expected record with its ids; None matches any id."""

    expected: Expected
    creator_pid: int
    creator_tid: int | None
    pid: int
    tid: int | None

    def matches(self, record: RemoteThread) -> bool:
        """Return whether *record* has these ids."""
        pairs = zip(self[1:], record[1:5], strict=True)
        return all(wanted is None or wanted == value for wanted, value in pairs)


def evaluate(scenario: Scenario, bench: str, observation: Observation, seconds: float = 0.0) -> Result:
    """Return the result of *scenario* on the bench called *bench*."""
    of_etw = expected_records(scenario.expect, "etw", observation.ids)
    of_driver = expected_records(scenario.expect, "driver", observation.ids)
    alone = [each for each in (*of_etw, *of_driver) if each.expected.only]
    comparison = compare(observation.etw.records, observation.driver.records, observation.equality)
    explainer = _Explainer(alone, observation.minimal)
    comparison = explain(comparison, explainer)
    complaints = differences(comparison, observation.etw, observation.driver)
    complaints += _unexpected("ETW", observation.etw, of_etw, observation.equality)
    complaints += _unexpected("the driver", observation.driver, of_driver, observation.equality)
    if observation.equality is Equality.EXACT and not complaints:
        complaints = _other_details(observation.etw, of_etw)
    return Result(
        scenario.name,
        bench,
        seconds,
        comparison,
        tuple(complaints),
        (*observation.notes, *explainer.notes(), *_background(comparison, of_etw)),
        statistics={"etw": observation.etw.statistics, "driver": observation.driver.statistics},
    )


def _background(comparison: Comparison, wanted: Sequence[ExpectedRecord]) -> Iterator[str]:
    """Yield a note on records of both sides that the scenario does not expect; allowed on a live machine."""
    if comparison.equality is Equality.EXACT:
        return
    left = list(wanted)
    others: Counter[str] = Counter()
    for pair in comparison.matched:
        found = next((position for position, each in enumerate(left) if each.matches(pair.etw)), None)
        if found is None:
            others[f"{pair.etw.creator_pid} -> {pair.etw.pid}"] += 1
        else:
            del left[found]
    if others:
        shown = [
            f"{ids} ({times:,} times)" if times > 1 else ids for ids, times in others.most_common(_MOST_SHOWN)
        ]
        more = f", and {len(others) - _MOST_SHOWN:,} more pairs of processes" if len(others) > _MOST_SHOWN else ""
        yield f"background that both report: {', '.join(shown)}{more}"


class _Explainer:
    """Uses each expected difference to explain one record; and explains all of minimal processes, with a note.

    Whether a driver is notified of their threads is documented nowhere, and was not seen yet.
    """

    def __init__(self, wanted: Iterable[ExpectedRecord], minimal: Mapping[int, str]) -> None:
        self._left = list(wanted)
        self._minimal = minimal
        self._seen: Counter[str] = Counter()

    def __call__(self, record: RemoteThread, side: Detector) -> bool:
        for position, each in enumerate(self._left):
            if each.expected.only == side and each.matches(record):
                del self._left[position]
                return True
        name = self._minimal.get(record.pid) or self._minimal.get(record.creator_pid)
        if name is not None:
            self._seen[
                f"only {'ETW' if side == 'etw' else 'the driver'} has {describe(record)}, in or by {name}"
            ] += 1
        return name is not None

    def notes(self) -> Iterator[str]:
        """Yield a note for each record of a minimal process that one side alone has."""
        for what in self._seen:
            yield f"{what}, a minimal process: what a driver is notified of there is not documented"


def expected_records(expected: Iterable[Expected], side: Detector, ids: Ids) -> list[ExpectedRecord]:
    """Return the records that *side* must report, in order."""
    return [
        ExpectedRecord(
            entry,
            ids.pid_of(creator.process),
            ids.tid_of(creator),
            ids.pid_of(target),
            None if thread is None else ids.tid_of(creator._replace(process=target, thread=thread)),
        )
        for entry in expected
        if entry.only in (None, side)
        for creator, target, thread in entry.each()
    ]


def _unexpected(name: str, side: Side, wanted: Sequence[ExpectedRecord], equality: Equality) -> list[str]:
    """Return how the records of one side differ from the expected ones."""
    if equality is Equality.LIVE:
        return _missing(name, side, wanted)
    complaints = []
    if len(side.records) != len(wanted):
        complaints = [f"{name} reports {len(side.records):,} remote threads, expected {len(wanted):,}"]
    for number, (record, each) in enumerate(zip(side.records, wanted, strict=False), 1):
        if not each.matches(record):
            what = each.expected.sentence()
            return [*complaints, f"record {number} of {name} is {describe(record)}, expected {what}"]
    return complaints


def _other_details(side: Side, wanted: Sequence[ExpectedRecord]) -> list[str]:
    """Return how the ETW side's evidence, or what else it knows, is not as expected; the driver has neither."""
    found = []
    for record, each in zip(side.records, wanted, strict=False):
        have, want = (", ".join(words) or "none" for words in (record.evidence, each.expected.evidence))
        if have != want:
            found.append(f"evidence of {describe(record)} is {have}, expected {want}")
    for detection, each in zip(side.detections or (), wanted, strict=False):
        known = {"kind": detection.kind, "severity": detection.severity}
        known |= {name: _text(CALL_FIELDS[name](detection)) for name in each.expected.stack}
        expected = {"kind": each.expected.kind, "severity": each.expected.severity, **each.expected.stack}
        for name, value in expected.items():
            if value is not None and value != (known[name] or ""):
                is_ = known[name] or "not known"
                found.append(f"{name} of {describe(detection.thread)} is {is_}, expected {value or 'not known'}")
    return found


def _text(value: str | tuple[str, ...] | None) -> str | None:
    return " ".join(value) if isinstance(value, tuple) else value


def _missing(name: str, side: Side, wanted: Sequence[ExpectedRecord]) -> list[str]:
    """Return the expected records that are missing; others are allowed, as background."""
    left = list(side.records)
    complaints: Counter[str] = Counter()
    for each in wanted:
        found = next((position for position, record in enumerate(left) if each.matches(record)), None)
        if found is None:
            complaints[f"{name} does not report {each.expected.sentence()}"] += 1
        else:
            del left[found]
    return [text if times == 1 else f"{text} ({times:,} times)" for text, times in complaints.items()]
