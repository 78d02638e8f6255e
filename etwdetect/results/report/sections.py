"""The page's section for each pair of processes: a source, a target, and all remote threads between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.results.fields import BY_NAME, PROCESS_ATTRIBUTES, FieldType
from etwdetect.results.report import labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etwdetect.results.report.records import Records, ReportedProcess, StartPoint

MAX_LINES: Final = 10
"""How many different starts, call stacks, or assessments, are listed of a pair."""

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


class StackLine(NamedTuple):
    """One call stack from which threads of a pair were created."""

    threads: int
    text: str


class AssessmentLine(NamedTuple):
    """One thing that is said of threads of a pair."""

    threads: int
    severity: str
    rank: int
    kind: str
    reason: Cell
    signs: str


@dataclass(frozen=True, slots=True)
class PairSection:
    """One section of the page. *number* counts from 1, the worst pair first."""

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
    stacks: Sequence[StackLine]
    more_stacks: int
    assessments: Sequence[AssessmentLine]
    more_assessments: int


class Ranked:
    """The pairs of *records*, the worst first: by severity, then by number of threads, then by first time.

    `order` has their indexes in ``records.pairs``.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        assessment_ranks = [labels.severity_rank(assessment.severity) for assessment in records.assessments]
        self._of_pair: defaultdict[int, list[int]] = defaultdict(list)
        for number, pair in enumerate(records.pair_of):
            self._of_pair[pair].append(number)
        self.threads = [sum(records.repeats[each] for each in self._of_pair[pair]) for pair in range(self.count)]
        """By pair: how many threads were created."""
        self.ranks = [
            min(assessment_ranks[records.assessment_of[each]] for each in self._of_pair[pair])
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

    def sections(self, most: int) -> Iterable[PairSection]:
        """Yield the sections of the worst pairs, at most *most*."""
        records = self._records
        processes, pairs = records.processes, records.pairs
        starts, stacks, assessments = records.starts, records.stacks, records.assessments
        for number, pair in enumerate(self.order[:most], 1):
            mine = self._of_pair[pair]
            source, target = (processes[each] for each in pairs[pair])
            by_start: Counter[int] = Counter()
            by_stack: Counter[int] = Counter()
            by_assessment: Counter[int] = Counter()
            for each in mine:
                by_start[records.start_of[each]] += records.repeats[each]
                if stacks[records.stack_of[each]]:
                    by_stack[records.stack_of[each]] += records.repeats[each]
                by_assessment[records.assessment_of[each]] += records.repeats[each]
            by_rank = sorted(by_assessment, key=lambda key: (labels.severity_rank(assessments[key].severity), key))
            yield PairSection(
                number,
                labels.process(source.process),
                labels.process(target.process),
                labels.shown(target.host) if target.host else None,
                self.threads[pair],
                labels.moment(min(records.times[each] for each in mine)),
                labels.moment(max(records.last_times[each] for each in mine)),
                labels.severity(assessments[by_rank[0]]),
                self.ranks[pair],
                ", ".join(dict.fromkeys(labels.kind(assessments[each]) for each in by_rank[:MAX_LINES])),
                [_process_row(name, source, target) for name in PROCESS_LABELS],
                [_start_line(starts[each], count) for each, count in by_start.most_common(MAX_LINES)],
                max(len(by_start) - MAX_LINES, 0),
                [StackLine(count, labels.shown(stacks[each])) for each, count in by_stack.most_common(MAX_LINES)],
                max(len(by_stack) - MAX_LINES, 0),
                [_assessment_line(records, each, by_assessment[each]) for each in by_rank[:MAX_LINES]],
                max(len(by_rank) - MAX_LINES, 0),
            )


def _process_row(name: str, source: ReportedProcess, target: ReportedProcess) -> ProcessRow:
    return ProcessRow(PROCESS_LABELS[name], process_cell(name, source), process_cell(name, target))


def process_cell(name: str, of: ReportedProcess) -> Cell:
    """Return the field called *name* in PROCESS_LABELS, or why it is not known."""
    process = of.process
    value = getattr(process, PROCESS_ATTRIBUTES[name])
    if name == "ParentImage" and process.parent_pid is not None:
        return Cell(f"{labels.shown(value) if value else labels.NO_PROGRAM}, process {process.parent_pid}")
    if value is None:
        return _missing(of.absent.get(name))
    is_time = BY_NAME[f"Source{name}"].type is FieldType.FILETIME
    return Cell(labels.moment(value) if is_time else labels.shown(str(value)))


def _missing(why: str | None) -> Cell:
    return Cell(labels.shown(why) if why else labels.NOT_KNOWN, is_known=False)


def _start_line(start: StartPoint, count: int) -> StartLine:
    absent = dict(start.absent)
    offset = None if start.offset is None else labels.offset(start.offset)
    texts = (
        ("StartFunction", start.function),
        ("StartModule", start.module),
        ("StartModuleOffset", offset),
        ("StartAddress", labels.address(start)),
    )
    cells = (_missing(absent.get(name)) if text is None else Cell(labels.shown(text)) for name, text in texts)
    return StartLine(count, *cells)


def _assessment_line(records: Records, number: int, count: int) -> AssessmentLine:
    assessment = records.assessments[number]
    reason = _missing(labels.NO_REASON) if assessment.reason is None else Cell(labels.shown(assessment.reason))
    return AssessmentLine(
        count,
        labels.severity(assessment),
        labels.severity_rank(assessment.severity),
        labels.kind(assessment),
        reason,
        labels.signs(assessment),
    )
