"""Tracks processes from their start to their exit, because a process id is reused after the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import SYSTEM_PID, ProcessRundown, ProcessStart
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.enrich.modules import ModuleMap

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload, ProcessStop

    KnownProcess = ProcessStart | ProcessRundown

MOST_PROCESSES: Final = 65_536
MOST_WEIGHT: Final = 256 << 10
"""The most images, plus blocks of 128 characters of names and command lines, kept for all processes together."""

_WEIGHT_OF_TEXT: Final = 128
_SAME_START: Final = 10 * TICKS_PER_MILLISECOND
"""Two providers report one start within this time of each other, one with the image's path and one without."""

_SHORT_NAME: Final = 14
"""The length from which a name may be truncated: old kernels keep 15 bytes of it."""


class TrackedProcess:
    """One process from its start to its exit.

    *known* is what events say about it, *parent* what was known about its parent when it started, *modules* its
    images. *awaited* is the FILETIME until which an image loaded late may hold the start address of one of its
    threads.
    """

    __slots__ = ("awaited", "known", "modules", "parent")

    def __init__(self, known: KnownProcess | None = None, parent: KnownProcess | None = None) -> None:
        self.known = known
        self.parent = parent
        self.modules: ModuleMap | None = None
        self.awaited = 0

    @property
    def seen_to_start(self) -> bool:
        """Whether its start was observed, so that all its events so far were too."""
        return isinstance(self.known, ProcessStart)

    @property
    def image(self) -> str | None:
        """Its program, with the full path if one of its image events has it."""
        name = self.known.image if self.known else None
        if name and self.modules and "\\" not in name:
            return self.modules.programs.get(name.lower(), name)
        return name


def start_time(known: KnownProcess) -> int | None:
    """Return the FILETIME at which a process started, or None if no event says so."""
    return known.create_time or (known.time if isinstance(known, ProcessStart) else None)


class ProcessTracker:
    """Tracks processes in time order; beyond *bound* of them, the one with the oldest last event is forgotten.

    A process that is only listed at the end of a trace existed before. The `prescan_start` and `prescan_listing`
    methods take such events ahead of time, in any order.
    """

    def __init__(self, bound: int = MOST_PROCESSES) -> None:
        self._bound = bound
        self._running: BoundedMap[int, TrackedProcess] = BoundedMap(bound, MOST_WEIGHT)
        self._listed: BoundedMap[int, ProcessRundown] = BoundedMap(bound, MOST_WEIGHT)
        self._first_start: BoundedMap[int, int] = BoundedMap(bound)
        self._last_exit: BoundedMap[int, int] = BoundedMap(bound)
        """By process id: the FILETIME of the last exit."""
        self._just_exited: dict[int, TrackedProcess] = {}
        """The processes that exited at the time of the latest exit."""
        self._latest_exit = 0

    # -- prescan

    def prescan_start(self, event: ProcessStart) -> None:
        """Take a process start of the same trace ahead of time."""
        first = self._first_start.get(event.pid)
        self._first_start.put(event.pid, event.time if first is None else min(event.time, first))

    def prescan_listing(self, event: ProcessRundown) -> None:
        """Take a listing of the same trace ahead of time."""
        known = self._listed.get(event.pid)
        if event.image and (known is None or known.time > event.time):
            self._listed.put(event.pid, event, _text_weight(event))

    def does_not_start_before(self, pid: int, time: int) -> bool:
        """Whether the prescan found no start of *pid* up to *time*."""
        first = self._first_start.get(pid)
        return first is None or first > time

    # -- in time order

    def start(self, event: ProcessStart) -> None:
        """Take the start of a process."""
        process = self._running.get(event.pid)
        known = process.known if process else None
        if process and isinstance(known, ProcessStart) and event.time - known.time <= _SAME_START:
            self._learn(event.pid, process, _merged(known, event))
        else:
            self._track(event.pid, TrackedProcess(event, self._parent_at_start(event)))

    def list(self, event: ProcessRundown) -> None:
        """Take a listing: the process was found to exist."""
        process = self._running.get(event.pid)
        if process is None or (process.known is not None and _is_another(process.known, event)):
            self._track(event.pid, TrackedProcess(event))
        else:
            self._learn(event.pid, process, event if process.known is None else _merged(process.known, event))

    def stop(self, event: ProcessStop) -> None:
        """Take the exit of a process."""
        if self._latest_exit != event.time:
            self._just_exited.clear()
            self._latest_exit = event.time
        process = self._running.pop(event.pid)
        if process is not None and len(self._just_exited) < self._bound:
            self._just_exited[event.pid] = process
        self._last_exit.put(event.pid, event.time)

    def load(self, event: ImageLoad) -> None:
        """Take the mapping of an image."""
        process = self._running.get(event.pid) or TrackedProcess()
        if process.modules is None:
            process.modules = ModuleMap()
        process.modules.load(event)
        self._track(event.pid, process)

    def unload(self, event: ImageUnload) -> None:
        """Take the unmapping of an image."""
        process = self._running.get(event.pid)
        if process is not None and process.modules is not None:
            process.modules.unload(event, keep=event.time <= process.awaited)
            self._track(event.pid, process)

    # -- queries

    def at(self, pid: int, time: int) -> TrackedProcess | None:
        """Return the process that *pid* identifies at *time*, the time of the latest event.

        At equal timestamps, actions precede the exit.
        """
        process = self._running.get(pid)
        if process is None and time == self._latest_exit:
            process = self._just_exited.get(pid)
        if process is not None and process.known is not None:
            return process
        listed = self._listed.get(pid)
        # Neither start nor exit seen: a later listing is of this process unless the id is reused before it.
        if listed is not None and pid not in self._last_exit and self.does_not_start_before(pid, listed.time - 1):
            process = process or TrackedProcess()
            self._learn(pid, process, listed)
        return process

    def now(self, pid: int, time: int) -> TrackedProcess:
        """Return what `at` returns, or a process about which nothing is known yet."""
        return self.at(pid, time) or self._track(pid, TrackedProcess())

    def since(self, pid: int) -> int:
        """Return the FILETIME before which events of *pid* belong to an earlier process with that id."""
        process = self._running.get(pid)
        if process and process.seen_to_start and process.known:
            return process.known.time
        return self._last_exit.get(pid) or 0

    def parent(self, process: TrackedProcess, time: int) -> KnownProcess | None:
        """Return what is known about the parent of *process*, as of the start of *process*.

        For a process that was only listed, the parent's id may have been reused. It still identifies the parent if
        that process started first.
        """
        known = process.known
        if known is None or known.parent_pid is None:
            return None
        candidate = self.at(known.parent_pid, time)
        if candidate is None or candidate.known is None:
            return process.parent
        if process.seen_to_start:
            sure = process.parent is not None and process.parent.time == candidate.known.time
        elif known.parent_pid == SYSTEM_PID:
            sure = True
        else:
            started, parent_started = start_time(known), start_time(candidate.known)
            sure = started is not None and parent_started is not None and parent_started <= started
        # Image events may have completed the path of its program since.
        return candidate.known._replace(image=candidate.image) if sure else process.parent

    def _parent_at_start(self, event: ProcessStart) -> KnownProcess | None:
        parent = None if event.parent_pid is None else self.at(event.parent_pid, event.time)
        return parent.known if parent else None

    # -- memory

    def _track(self, pid: int, process: TrackedProcess) -> TrackedProcess:
        """Make *process*, as it now is, the newest entry."""
        weight = _text_weight(process.known) + _text_weight(process.parent) + len(process.modules or ())
        self._running.put(pid, process, weight)
        return process

    def _learn(self, pid: int, process: TrackedProcess, known: KnownProcess) -> None:
        process.known = known
        self._track(pid, process)


def _text_weight(known: KnownProcess | None) -> int:
    if known is None:
        return 0
    return (len(known.image or "") + len(known.command_line or "")) // _WEIGHT_OF_TEXT


def _merged(known: KnownProcess, event: KnownProcess) -> KnownProcess:
    """Return *known* with the fields that only *event*, of the same process, has."""
    missing = {
        name: new
        for name in ("parent_pid", "session_id", "create_time", "sid", "command_line")
        if getattr(known, name) in (None, "") and (new := getattr(event, name)) is not None
    }
    if event.image and len(event.image) > len(known.image or "") and _is_same_program(known.image, event.image):
        missing["image"] = event.image
    return known._replace(**missing) if missing else known


def _is_another(known: KnownProcess, event: ProcessRundown) -> bool:
    """Whether *event* lists a process other than *known*, whose exit was then not recorded."""
    started, listed_start = start_time(known), event.create_time
    if started is not None and listed_start is not None:
        return abs(started - listed_start) > _SAME_START
    return not _is_same_program(known.image, event.image)


def _is_same_program(one: str | None, other: str | None) -> bool:
    if not one or not other or "\\x" in one + other:  # an escape: bytes that their code page could not decode
        return True
    names = sorted((path.rpartition("\\")[2].lower() for path in (one, other)), key=len)
    return names[0] == names[1] or (len(names[0]) >= _SHORT_NAME and names[1].startswith(names[0]))
