"""Detections in columns, every text once: what the page's JSON and its HTML are made from."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from etwdetect.enrich.detection import Process
from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.results.formats.text import stack_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from etwdetect.enrich.detection import Detection, Detector, FiredRule

MAX_RECORDS: Final = 250_000
"""How many detections a report lists; a browser holds them in memory, and so do we."""
MAX_TEXT: Final = 32 << 20
"""How many characters of different texts a report holds before it lists no further detection."""

MAX_KINDS: Final = 200
"""How many kinds are counted each by itself."""
OTHER_KINDS: Final = "other kinds"
OTHER_SEVERITY: Final = "other severity"

_UNKNOWN: Final = -1
_LATEST: Final = (1 << 63) - 1
_FIELDS: Final = tuple(field.name for field in fields(Process))

_Key = TypeVar("_Key", bound="Hashable")


class StartPoint(NamedTuple):
    """Where threads start, with why a part of it is not known."""

    address: int | None
    pointer_size: int
    module: str | None
    offset: int | None
    function: str | None
    absent: tuple[tuple[str, str], ...]


class Assessment(NamedTuple):
    """All of a detection but its processes and its start; *reason* is why it has its kind, or none."""

    severity: str | None
    kind: str | None
    reason: str | None
    sigma: tuple[str, ...]
    evidence: tuple[str, ...]
    detector: Detector
    rules: tuple[FiredRule, ...] = ()
    techniques: tuple[str, ...] = ()


@dataclass(slots=True)
class ReportedProcess:
    """One process on one machine (not a process id, which is used again), with all that is known of it."""

    process: Process
    host: str | None
    absent: dict[str, str]

    def merge(self, process: Process) -> None:
        """Add what *process*, the same one in a later detection, has that was not known."""
        if process != self.process:
            known, new = self.process, process
            values = (getattr(known if getattr(new, name) is None else new, name) for name in _FIELDS)
            self.process = Process(*values)


class Records:
    """Lists detections, at most *most* of them with at most *most_text* characters.

    *allows* is asked about the length of each different text. Beyond that they are counted by kind and severity,
    and in `unlisted`. The columns have one item a listed detection; `pairs` are indexes of `processes`, source
    first.
    """

    def __init__(
        self, most: int = MAX_RECORDS, most_text: int = MAX_TEXT, allows: Callable[[int], bool] = lambda _: True
    ) -> None:
        self.counts: Counter[tuple[str | None, str | None]] = Counter()
        """By kind and severity, repeats that were folded into one included."""
        self.unlisted = 0
        self.processes: list[ReportedProcess] = []
        self.times = array("q")
        self.pair_of = array("I")
        self._source_threads = array("q")
        self.new_threads = array("I")
        self.start_of = array("I")
        self.stack_of = array("I")
        self.assessment_of = array("I")
        self.repeats = array("Q")
        self.last_times = array("q")
        self._most = most
        self._text_left = most_text
        self._allows = allows
        self._processes: dict[Hashable, int] = {}
        self._pairs: dict[tuple[int, int], int] = _numbers()
        self._starts: dict[StartPoint, int] = _numbers()
        self._stacks: dict[str, int] = _numbers()
        self._assessments: dict[Assessment, int] = _numbers()
        self._seen_texts: set[str] = set()

    def __len__(self) -> int:
        return len(self.times)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each source and target that there is, in the order they came."""
        return list(self._pairs)

    @property
    def starts(self) -> list[StartPoint]:
        """Each place where threads start."""
        return list(self._starts)

    @property
    def stacks(self) -> list[str]:
        """Each different call stack as text; the empty text for none."""
        return list(self._stacks)

    @property
    def assessments(self) -> list[Assessment]:
        """Each different assessment."""
        return list(self._assessments)

    def source_thread(self, number: int) -> int | None:
        """Return the id of the thread that created the thread of record *number*; None where it is not known."""
        thread = self._source_threads[number]
        return None if thread == _UNKNOWN else thread

    def add(self, detection: Detection, input_number: int) -> None:
        """Add a detection of the input with this number."""
        self._count(detection)
        if len(self) >= self._most or self._text_left <= 0:
            self.unlisted += detection.count
            return
        thread, start = detection.thread, detection.start
        absent = tuple(each for each in detection.absent if each[0].startswith("Start"))
        source = self._process(detection, detection.source, input_number, "Source")
        target = self._process(detection, detection.target, input_number, "Target")
        self.times.append(thread.time)
        self.pair_of.append(self._pairs[source, target])
        self._source_threads.append(_UNKNOWN if thread.creator_tid is None else thread.creator_tid)
        self.new_threads.append(thread.tid)
        self.repeats.append(detection.count)
        self.last_times.append(thread.time if detection.last_time is None else min(detection.last_time, _LATEST))
        place = thread.start_address, detection.pointer_size, start.module, start.offset, start.function, absent
        self.start_of.append(self._starts[StartPoint(*place)])
        stack = stack_text(detection.calls) or ""
        self.stack_of.append(self._stacks[stack])
        reason = detection.reason or dict(detection.absent).get("Kind")
        assessed = _severity(detection), detection.kind, reason, detection.sigma, thread.evidence
        said = detection.detector, detection.sigma_rules, detection.techniques
        self.assessment_of.append(self._assessments[Assessment(*assessed, *said)])
        self._count_text(start.module, start.function, stack, detection.kind, detection.reason)
        self._count_text(
            *detection.sigma,
            *(text for rule in detection.sigma_rules for text in (*rule.tags, *rule.references)),
            *thread.evidence,
            *chain.from_iterable(detection.absent),
            detection.host,
        )

    def _count(self, detection: Detection) -> None:
        kind, severity = detection.kind, _severity(detection)
        if (kind, severity) not in self.counts and len(self.counts) >= MAX_KINDS:
            kind = OTHER_KINDS
        self.counts[kind, severity] += detection.count

    def _process(self, detection: Detection, process: Process, input_number: int, side: str) -> int:
        """Return the number of *process*.

        Where start time or machine are not known, only the same program in the same input is the same process.
        """
        host, start_time = detection.host, process.start_time
        known = (host, process.pid, start_time)
        key: Hashable = known if host and start_time is not None else (*known, input_number, process.image)
        number = self._processes.setdefault(key, len(self.processes))
        if number == len(self.processes):
            self.processes.append(ReportedProcess(process, host, {}))
        reported = self.processes[number]
        reported.merge(process)
        if detection.absent:
            reported.absent.update(
                (name.removeprefix(side), why) for name, why in detection.absent if name.startswith(side)
            )
        self._count_text(process.image, process.command_line, process.user, process.guid)
        self._count_text(process.parent_image, process.parent_command_line)
        return number

    def _count_text(self, *texts: str | None) -> None:
        for text in texts:
            if text is not None and text not in self._seen_texts:
                self._seen_texts.add(text)
                self._text_left = self._text_left - len(text) if self._allows(len(text)) else 0


def _severity(detection: Detection) -> str | None:
    """Return the severity, OTHER_SEVERITY where it is not in SEVERITIES, which only edited records have."""
    known = detection.severity is None or detection.severity in SEVERITIES
    return detection.severity if known else OTHER_SEVERITY


def _numbers() -> defaultdict[_Key, int]:
    """Return a dictionary that gives each new key the next number."""
    numbers: defaultdict[_Key, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers
