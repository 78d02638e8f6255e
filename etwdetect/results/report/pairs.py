"""The page's part for each pair: a source life, a target life, and all that happened between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.results.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etwdetect.enrich.detection import Process
    from etwdetect.results.report.records import Life, Records, StartPoint

MOST_LINES: Final = 10
"""How many different starts, or verdicts, are listed of a pair."""

FACTS: Final = (
    ("Image", "image"),
    ("Command line", "command_line"),
    ("Parent", "parent_image"),
    ("Parent's command line", "parent_command_line"),
    ("User", "user"),
    ("Session", "session_id"),
    ("Started (UTC)", "start_time"),
    ("Process GUID", "guid"),
)
"""What is told of each process: the words for it, and the field of `Process`."""

_RECORD_NAMES: Final = {
    "image": "Image",
    "command_line": "CommandLine",
    "parent_image": "ParentImage",
    "parent_command_line": "ParentCommandLine",
    "user": "User",
    "session_id": "TerminalSessionId",
    "start_time": "StartTime",
    "guid": "ProcessGuid",
}
"""What the record calls it, behind Source or Target: under these names it says why something is not known."""


class Cell(NamedTuple):
    """A text, or in its place why it is not known."""

    text: str
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about both processes."""

    name: str
    source: Cell
    target: Cell


class StartLine(NamedTuple):
    """One place where threads of a pair start."""

    threads: int
    function: Cell
    module: Cell
    offset: Cell
    address: Cell


class VerdictLine(NamedTuple):
    """One thing that is said of threads of a pair."""

    threads: int
    severity: str
    rank: int
    kind: str
    reason: Cell
    signs: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One part of the page. *number* counts from 1, the worst pair first."""

    number: int
    source: str
    target: str
    host: str | None
    threads: int
    first: str
    last: str
    severity: str
    rank: int
    kinds: str
    facts: Sequence[Fact]
    starts: Sequence[StartLine]
    more_starts: int
    verdicts: Sequence[VerdictLine]
    more_verdicts: int


class Ranked:
    """The pairs of *records*, the worst first: by severity, then by number of threads, then by first time.

    `order` has their indexes in ``records.pairs``.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        verdict_ranks = [words.severity_rank(verdict.severity) for verdict in records.verdicts]
        self._of_pair: defaultdict[int, list[int]] = defaultdict(list)
        for number, pair in enumerate(records.pair_of):
            self._of_pair[pair].append(number)
        self.threads = [sum(records.repeats[each] for each in self._of_pair[pair]) for pair in range(self.count)]
        """By pair: how many threads were created."""
        self.ranks = [
            min(verdict_ranks[records.verdict_of[each]] for each in self._of_pair[pair])
            for pair in range(self.count)
        ]
        """By pair: the worst `severity_rank`."""
        firsts = [min(records.times[each] for each in self._of_pair[pair]) for pair in range(self.count)]
        self.order = sorted(
            range(self.count), key=lambda pair: (self.ranks[pair], -self.threads[pair], firsts[pair], pair)
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._of_pair)

    def parts(self, most: int) -> Iterable[Pair]:
        """Yield the worst pairs, at most *most*."""
        records = self._records
        lives, pairs, starts, verdicts = records.lives, records.pairs, records.starts, records.verdicts
        for number, pair in enumerate(self.order[:most], 1):
            mine = self._of_pair[pair]
            source, target = (lives[each] for each in pairs[pair])
            by_start: Counter[int] = Counter()
            by_verdict: Counter[int] = Counter()
            for each in mine:
                by_start[records.start_of[each]] += records.repeats[each]
                by_verdict[records.verdict_of[each]] += records.repeats[each]
            by_rank = sorted(by_verdict, key=lambda key: (words.severity_rank(verdicts[key].severity), key))
            yield Pair(
                number,
                words.life(source.process),
                words.life(target.process),
                words.shown(target.host) if target.host else None,
                self.threads[pair],
                words.moment(min(records.times[each] for each in mine)),
                words.moment(max(records.last_times[each] for each in mine)),
                words.severity(verdicts[by_rank[0]]),
                self.ranks[pair],
                ", ".join(dict.fromkeys(words.kind(verdicts[each]) for each in by_rank[:MOST_LINES])),
                [_fact(name, field, source, target) for name, field in FACTS],
                [_start_line(starts[each], count) for each, count in by_start.most_common(MOST_LINES)],
                max(len(by_start) - MOST_LINES, 0),
                [_verdict_line(records, each, by_verdict[each]) for each in by_rank[:MOST_LINES]],
                max(len(by_rank) - MOST_LINES, 0),
            )


def _fact(name: str, field: str, source: Life, target: Life) -> Fact:
    return Fact(name, *(_process_cell(each.process, field, each.absent) for each in (source, target)))


def _process_cell(process: Process, field: str, absent: dict[str, str]) -> Cell:
    value = getattr(process, field)
    if field == "parent_image" and process.parent_pid is not None:
        return Cell(f"{words.shown(value) if value else words.NO_PROGRAM}, process {process.parent_pid}")
    if value is None:
        return _missing(absent.get(_RECORD_NAMES[field]))
    return Cell(words.moment(value) if field == "start_time" else words.shown(str(value)))


def _missing(why: str | None) -> Cell:
    return Cell(words.shown(why) if why else words.NOT_KNOWN, is_known=False)


def _start_line(start: StartPoint, count: int) -> StartLine:
    absent = dict(start.absent)
    offset = None if start.offset is None else words.offset(start.offset)
    texts = (
        ("StartFunction", start.function),
        ("StartModule", start.module),
        ("StartModuleOffset", offset),
        ("StartAddress", words.address(start)),
    )
    cells = (_missing(absent.get(name)) if text is None else Cell(words.shown(text)) for name, text in texts)
    return StartLine(count, *cells)


def _verdict_line(records: Records, number: int, count: int) -> VerdictLine:
    verdict = records.verdicts[number]
    reason = _missing(words.NO_REASON) if verdict.reason is None else Cell(words.shown(verdict.reason))
    return VerdictLine(
        count,
        words.severity(verdict),
        words.severity_rank(verdict.severity),
        words.kind(verdict),
        reason,
        words.signs(verdict),
    )
