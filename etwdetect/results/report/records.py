"""Detections in columns, every text once: what the page's JSON and its HTML are made from."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from etwdetect.enrich.detection import Process
from etwdetect.enrich.kind_rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Hashable

    from etwdetect.enrich.detection import Detection, Detector

MOST_RECORDS: Final = 250_000
"""How many detections a report lists; a browser holds them in memory, and so do we."""
MOST_TEXT: Final = 32 << 20
"""How many characters of different texts a report holds before it lists no further detection."""

MOST_KINDS: Final = 200
"""How many kinds are counted each by itself."""
OTHER_KINDS: Final = "other kinds"
OTHER_SEVERITY: Final = "other severity"

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


class Verdict(NamedTuple):
    """What is said of a detection besides its processes and its start; *reason* is for the kind, or for none."""

    severity: str | None
    kind: str | None
    reason: str | None
    sigma: tuple[str, ...]
    evidence: tuple[str, ...]
    detector: Detector


@dataclass(slots=True)
class Life:
    """One life of a process id, on one machine, with all that any of its detections tells of it."""

    process: Process
    host: str | None
    absent: dict[str, str]

    def learn(self, process: Process) -> None:
        """Take what *process*, a later telling of the same life, knows beyond the earlier ones."""
        if process != self.process:
            known, new = self.process, process
            values = (getattr(known if getattr(new, name) is None else new, name) for name in _FIELDS)
            self.process = Process(*values)


class Records:
    """Takes detections one by one; at most *most* of them, and *most_text* characters, are listed.

    What comes after that is counted by kind and severity, and in `unlisted`. The columns have one item a listed
    detection; `pairs` are indexes of `lives`, source first.
    """

    def __init__(self, most: int = MOST_RECORDS, most_text: int = MOST_TEXT) -> None:
        self.counts: Counter[tuple[str | None, str | None]] = Counter()
        """By kind and severity, repeats that were folded into one included."""
        self.unlisted = 0
        self.lives: list[Life] = []
        self.times = array("q")
        self.pair_of = array("I")
        self.source_threads = array("I")
        self.new_threads = array("I")
        self.start_of = array("I")
        self.verdict_of = array("I")
        self.repeats = array("Q")
        self.last_times = array("q")
        self._most = most
        self._text_left = most_text
        self._lives: dict[Hashable, int] = {}
        self._pairs: dict[tuple[int, int], int] = _numbers()
        self._starts: dict[StartPoint, int] = _numbers()
        self._verdicts: dict[Verdict, int] = _numbers()
        self._seen_texts: set[str] = set()

    def __len__(self) -> int:
        return len(self.times)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each source and target that there is, in the order they came."""
        return list(self._pairs)

    @property
    def starts(self) -> list[StartPoint]:
        """Each place where a thread starts."""
        return list(self._starts)

    @property
    def verdicts(self) -> list[Verdict]:
        """Each different thing that is said of detections."""
        return list(self._verdicts)

    def add(self, detection: Detection, origin: int) -> None:
        """Take a detection of the input with the number *origin*."""
        self._count(detection)
        if len(self) >= self._most or self._text_left <= 0:
            self.unlisted += detection.count
            return
        thread, start = detection.thread, detection.start
        whys = tuple(why for why in detection.absent if why[0].startswith("Start"))
        source = self._life(detection, detection.source, origin, "Source")
        target = self._life(detection, detection.target, origin, "Target")
        self.times.append(thread.time)
        self.pair_of.append(self._pairs[source, target])
        self.source_threads.append(thread.creator_tid)
        self.new_threads.append(thread.tid)
        self.repeats.append(detection.count)
        self.last_times.append(thread.time if detection.last_time is None else min(detection.last_time, _LATEST))
        place = thread.start_address, detection.pointer_size, start.module, start.offset, start.function, whys
        self.start_of.append(self._starts[StartPoint(*place)])
        reason = detection.reason or dict(detection.absent).get("Kind")
        said = _severity(detection), detection.kind, reason, detection.sigma, thread.evidence
        self.verdict_of.append(self._verdicts[Verdict(*said, detection.detector)])
        self._weigh(start.module, start.function, detection.kind, detection.reason)
        self._weigh(*detection.sigma, *thread.evidence, *chain.from_iterable(detection.absent), detection.host)

    def _count(self, detection: Detection) -> None:
        kind, severity = detection.kind, _severity(detection)
        if (kind, severity) not in self.counts and len(self.counts) >= MOST_KINDS:
            kind = OTHER_KINDS
        self.counts[kind, severity] += detection.count

    def _life(self, detection: Detection, process: Process, origin: int, side: str) -> int:
        """Return the number of the life that *process* is of.

        Where start time or machine are not known, only the same program in the same input is the same life.
        """
        host, born = detection.host, process.start_time
        known = (host, process.pid, born)
        key: Hashable = known if host and born is not None else (*known, origin, process.image)
        number = self._lives.setdefault(key, len(self.lives))
        if number == len(self.lives):
            self.lives.append(Life(process, host, {}))
        life = self.lives[number]
        life.learn(process)
        if detection.absent:
            life.absent.update(
                (name.removeprefix(side), why) for name, why in detection.absent if name.startswith(side)
            )
        self._weigh(process.image, process.command_line, process.user, process.guid)
        self._weigh(process.parent_image, process.parent_command_line)
        return number

    def _weigh(self, *texts: str | None) -> None:
        for text in texts:
            if text is not None and text not in self._seen_texts:
                self._seen_texts.add(text)
                self._text_left -= len(text)


def _severity(detection: Detection) -> str | None:
    """Return the severity; only in records of others there are words that are not in SEVERITIES."""
    known = detection.severity is None or detection.severity in SEVERITIES
    return detection.severity if known else OTHER_SEVERITY


def _numbers() -> defaultdict[_Key, int]:
    """Return a dictionary that gives each new key the next number."""
    numbers: defaultdict[_Key, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers
