"""One process as it is tracked: what events say about it, its images, and the path of its program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ProcessRundown, ProcessStart
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.enrich.modules import MOST_OF_ONE
from etwdetect.enrich.programs import NTDLL, fits, is_bare, is_same_program, namesakes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.events import ProcessStop
    from etwdetect.enrich.modules import ModuleMap

    KnownProcess = ProcessStart | ProcessRundown

WEIGHT_OF_TEXT: Final = 128
RENAMED: Final = "renamed"
"""The evidence of a process that another event names differently."""

MAPPED_OVER: Final = "mapped-over"
"""The evidence of a process one of whose images was mapped where another one was."""

IMPOSSIBLE_IMAGE: Final = "impossible-image"
"""The evidence of a process with an image that does not fit into the address space."""

SECOND_PROGRAM: Final = "second-program"
"""The evidence of a process that maps an image of its program's name from another folder."""

ABOUT_NAMES: Final = frozenset((RENAMED, MAPPED_OVER, IMPOSSIBLE_IMAGE, SECOND_PROGRAM))
"""The evidence that makes names and modules uncertain, and not that a thread is remote."""

SAME_START: Final = 10 * TICKS_PER_MILLISECOND
"""Two providers report one start within this time of each other, one with the image's path and one without."""


class TrackedProcess:
    """One process from its start to its exit.

    *known* is what events say about it, *parent* the process that was its parent when it started, *modules* its
    images. *awaited* is the FILETIME until which an image loaded late may hold the start address of one of its
    threads. *complete* says that the prescan has nothing more about it, *sought* that no image to come is of its
    program, *forgotten* why less is known than events told. *contradictions* are evidence: what events about it do
    not agree on.
    """

    __slots__ = (
        "_early",
        "_likely",
        "awaited",
        "complete",
        "contradictions",
        "forgotten",
        "known",
        "modules",
        "parent",
        "program",
        "sought",
        "text",
        "wants_path",
    )

    def __init__(
        self,
        known: KnownProcess | None = None,
        parent: TrackedProcess | None = None,
        forgotten: str | None = None,
    ) -> None:
        self.parent = parent
        self.forgotten = forgotten
        self.modules: ModuleMap | None = None
        self.awaited = 0
        self.sought = False
        self.contradictions: tuple[str, ...] = ()
        self.program: str | None = None
        """The path of the image that its bare name fits."""
        self._likely: str | None = None
        """The path of the latest image, where it may be the program's: then the next one is ntdll.dll's."""
        self._early: list[tuple[str, bool]] = []
        """The images seen before its name was known."""
        self.known: KnownProcess | None = None
        self.text = 0
        """How much its name and command line weigh."""
        self.wants_path = True
        """Whether one of its images may tell the path of its program."""
        if known is not None:
            self.learn(known)
        self.complete = self.seen_to_start

    @property
    def seen_to_start(self) -> bool:
        """Whether its start was observed, so that all its events so far were too."""
        return isinstance(self.known, ProcessStart)

    @property
    def name(self) -> str | None:
        """Its bare name, while the path of its program is not known."""
        return self.known.image if self.known and self.known.image and self.wants_path else None

    @property
    def image(self) -> str | None:
        """Its program, with the full path if an event has it."""
        name = self.known.image if self.known else None
        return self.program if self.program and name and is_bare(name) else name

    @property
    def weight(self) -> int:
        """How much of MOST_WEIGHT it takes."""
        texts = self.text + self.parent.text if self.parent else self.text
        return texts + len(self._early) + (len(self.modules) if self.modules else 0)

    def learn(self, known: KnownProcess) -> None:
        """Replace what is known about it by *known*, which is all of that and more."""
        self.known = known
        self.text = text_weight(known)
        if known.image:
            self.wants_path = self.program is None and is_bare(known.image)
            early, self._early = self._early, []
            for path, mapped in early:
                self.see(path, mapped=mapped)

    def see(self, path: str | None, *, mapped: bool) -> None:
        """Take the path of its next image, which was *mapped* just now, or else was there before.

        The first image that fits its name is its program's, whatever it maps later. A process that is older than
        the trace had mapped its program before, unless ntdll.dll comes right behind the image.
        """
        if not self.wants_path or not path:
            return
        name = self.known.image if self.known else None
        if not name:
            if len(self._early) < MOST_OF_ONE:
                self._early.append((path, mapped))
        elif not mapped or self.seen_to_start:
            if fits(name, path):
                self._found(path)
        elif self._likely and path.lower().endswith(NTDLL):
            self._found(self._likely)
        else:
            self._likely = path if fits(name, path) else None

    def see_all(self, images: Iterable[tuple[str, bool]]) -> None:
        """Take the paths of its next images while its name is not known, as `see` does."""
        room = max(MOST_OF_ONE - len(self._early), 0)
        self._early += [each for each in images if each[0]][:room]

    def contradict(self, evidence: str) -> None:
        """Take that events about it do not agree, as *evidence* says."""
        if evidence not in self.contradictions:
            self.contradictions += (evidence,)

    def other_programs(self, paths: Iterable[str]) -> list[str]:
        """Return which of *paths* are of other images with the name of its program, whose path is known."""
        program = self.image
        return [] if program is None or is_bare(program) else namesakes(program, paths)

    def _found(self, program: str) -> None:
        self.program = program
        self.wants_path = False

    def release(self) -> None:
        """Let go of what only a tracked process needs; a child may hold this one for as long as it runs."""
        self.modules = self.parent = None
        self._early = []


def start_time(known: KnownProcess) -> int | None:
    """Return the FILETIME at which a process started, or None if no event says so."""
    return known.create_time or (known.time if isinstance(known, ProcessStart) else None)


def text_weight(known: KnownProcess | ProcessStop | None) -> int:
    """Return how much of `process_tracker.MOST_WEIGHT` the texts of *known* take."""
    if known is None:
        return 0
    return (len(known.image or "") + len(known.command_line or "")) // WEIGHT_OF_TEXT


def learn_from(process: TrackedProcess, event: ProcessRundown | ProcessStop) -> bool:
    """Let *process* learn what *event*, a listing or its exit, tells of it; return whether it has another name."""
    if process.known is None:
        process.learn(ProcessRundown(*event))
    elif not is_another(process.known, event):
        process.learn(merged(process.known, event))
    elif not is_same_program(process.known.image, event.image):
        process.contradict(RENAMED)
        return True
    return False


def merged(known: KnownProcess, event: KnownProcess | ProcessStop) -> KnownProcess:
    """Return *known* with the fields that only *event*, of the same process, has."""
    missing = {
        name: new
        for name in ("parent_pid", "session_id", "create_time", "sid", "command_line", "sequence")
        if getattr(known, name) in (None, "") and (new := getattr(event, name)) is not None
    }
    if event.image and is_same_program(known.image, event.image) and _says_more(event.image, known.image or ""):
        missing["image"] = event.image
    return known._replace(**missing) if missing else known


def _says_more(image: str, than: str) -> bool:
    """Whether the name *image* says more than another one of the same program: a path, or more of a cut name."""
    return (not is_bare(image), len(image)) > (not is_bare(than), len(than))


def is_another(known: KnownProcess, event: ProcessRundown | ProcessStop) -> bool:
    """Whether *event* is about a process other than *known*, whose exit was then not recorded."""
    started, listed_start = start_time(known), event.create_time
    if started is not None and listed_start == started:
        return False
    if known.sequence is not None and event.sequence is not None:
        return known.sequence != event.sequence
    if started is not None and listed_start is not None:
        return abs(started - listed_start) > SAME_START
    return not is_same_program(known.image, event.image)
