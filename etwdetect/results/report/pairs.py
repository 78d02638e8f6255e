"""The page's part for each pair: a source life, a target life, and all that happened between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.results.fields import BY_NAME, PROCESS_ATTRIBUTES, FieldType
from etwdetect.results.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etwdetect.results.report.records import Life, Records, StartPoint

MOST_LINES: Final = 10
"""How many different starts, or verdicts, are listed of a pair."""

PROCESS_LABELS: Final = {
    "Image": "Image",
    "CommandLine": "Command line",
    "ParentImage": "Parent",
    "ParentCommandLine": "Parent's command line",
    "User": "User",
    "TerminalSessionId": "Session",
    "StartTime": "Started (UTC)",
    "ProcessGuid": "Process GUID",
}
"""What the page shows of each process, in order: the field without Source or Target, and its label."""


class Cell(NamedTuple):
    """A text, or in its place why it is not known."""

    text: str
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One field of both processes."""

    label: str
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
    process_rows: Sequence[ProcessRow]
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
                [_process_row(name, source, target) for name in PROCESS_LABELS],
                [_start_line(starts[each], count) for each, count in by_start.most_common(MOST_LINES)],
                max(len(by_start) - MOST_LINES, 0),
                [_verdict_line(records, each, by_verdict[each]) for each in by_rank[:MOST_LINES]],
                max(len(by_rank) - MOST_LINES, 0),
            )


def _process_row(name: str, source: Life, target: Life) -> ProcessRow:
    return ProcessRow(PROCESS_LABELS[name], _process_cell(name, source), _process_cell(name, target))


def _process_cell(name: str, life: Life) -> Cell:
    process = life.process
    value = getattr(process, PROCESS_ATTRIBUTES[name])
    if name == "ParentImage" and process.parent_pid is not None:
        return Cell(f"{words.shown(value) if value else words.NO_PROGRAM}, process {process.parent_pid}")
    if value is None:
        return _missing(life.absent.get(name))
    is_time = BY_NAME[f"Source{name}"].type is FieldType.FILETIME
    return Cell(words.moment(value) if is_time else words.shown(str(value)))


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
