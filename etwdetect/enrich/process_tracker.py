"""Tracks processes from their start to their exit, because a process id is reused after the exit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import SYSTEM_PID, ProcessStart
from etwdetect.enrich.forgotten import ForgottenProcesses
from etwdetect.enrich.modules import ModuleMap
from etwdetect.enrich.programs import is_same_program
from etwdetect.enrich.tracked_process import (
    IMPOSSIBLE_IMAGE,
    MAPPED_OVER,
    RENAMED,
    SAME_START,
    SECOND_PROGRAM,
    TrackedProcess,
    is_another,
    learn_from,
    merged,
    start_time,
    text_weight,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.core.events import ImageLoad, ImageUnload, ProcessRundown, ProcessStop, ThreadStart
    from etwdetect.enrich.image_columns import ImageColumns
    from etwdetect.enrich.tracked_process import KnownProcess

MOST_PROCESSES: Final = 65_536
MOST_WEIGHT: Final = 256 << 10
"""The most images, plus blocks of 128 characters of names and command lines, kept for all processes together."""


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
        self._first_exit: BoundedMap[int, ProcessStop] = BoundedMap(bound, MOST_WEIGHT)
        self._last_exit: BoundedMap[int, int] = BoundedMap(bound)
        """By process id: the FILETIME of the last exit."""
        self._just_exited: dict[int, TrackedProcess] = {}
        """The processes that exited at the time of the latest exit."""
        self._latest_exit = 0
        self._keys: BoundedMap[int, int] = BoundedMap(bound)
        """By process id: the start key of the process that created a thread."""
        self._forgotten = ForgottenProcesses(bound)
        self.contradictions: Counter[str] = Counter()
        """How many events do not agree with earlier ones of the same process, by evidence."""
        self._forgets_ids = False
        """Whether the prescan found starts or exits of more ids than it keeps."""

    # -- prescan

    def prescan_start(self, event: ProcessStart) -> None:
        """Take a process start of the same trace ahead of time."""
        first = self._first_start.get(event.pid)
        if first is None or first > event.time:
            self._forget_ids(self._first_start.put(event.pid, event.time))

    def prescan_listing(self, event: ProcessRundown) -> None:
        """Take a listing of the same trace ahead of time."""
        known = self._listed.get(event.pid)
        if event.image and (known is None or known.time > event.time):
            for pid, _ in self._listed.put(event.pid, event, text_weight(event)):
                self._forgotten.add(pid)

    def prescan_stop(self, event: ProcessStop) -> None:
        """Take a process exit of the same trace ahead of time."""
        first = self._first_exit.get(event.pid)
        if first is None or first.time > event.time:
            self._forget_ids(self._first_exit.put(event.pid, event, text_weight(event)))

    def is_one_until(self, pid: int, time: int) -> bool:
        """Whether the prescan found that *pid* neither starts up to *time* nor exits before."""
        start, stop = self._first_start.get(pid), self._first_exit.get(pid)
        if self._forgets_ids and (start is None or stop is None):
            return False
        return (start is None or start > time) and (stop is None or stop.time >= time)

    # -- in time order

    def start(self, event: ProcessStart) -> None:
        """Take the start of a process."""
        process = self._running.get(event.pid)
        known = process.known if process else None
        if process and isinstance(known, ProcessStart) and event.time - known.time <= SAME_START:
            self._learn(event.pid, process, merged(known, event))
        else:
            parent = None if event.parent_pid is None else self._parent(event.parent_pid, event.time)
            self._forgotten.discard(event.pid)
            self._replace(event.pid, process, TrackedProcess(event, parent))

    def list(self, event: ProcessRundown) -> None:
        """Take a listing: the process was found to exist."""
        process = self._running.get(event.pid)
        if process is None or (process.known is not None and is_another(process.known, event)):
            self._replace(event.pid, process, TrackedProcess(event))
        else:
            self._learn(event.pid, process, event if process.known is None else merged(process.known, event))

    def stop(self, event: ProcessStop) -> None:
        """Take the exit of a process."""
        if self._latest_exit != event.time:
            for process in self._just_exited.values():
                process.release()
            self._just_exited.clear()
            self._latest_exit = event.time
        self._keys.pop(event.pid)
        ended = self._running.pop(event.pid) or self._new(event.pid)
        self._forgotten.discard(event.pid)
        if learn_from(ended, event):
            self.contradictions[RENAMED] += 1
        ended.complete = True
        if len(self._just_exited) < self._bound:
            self._just_exited[event.pid] = ended
        self._last_exit.put(event.pid, event.time)

    def is_another_creator(self, event: ThreadStart) -> bool:
        """Whether the creator of *event*, the next one, is another process than had its id before, by its key.

        The exit of that one, and the start of the creator, were lost then.
        """
        if event.creator_key is None:
            return False
        known = self._keys.get(event.creator_pid)
        return known is not None and known != event.creator_key

    def create_thread(self, event: ThreadStart) -> None:
        """Take the start of a thread, which may show that its creator is another process than before."""
        if event.creator_key is None:
            return
        if self.is_another_creator(event):
            before = self._running.pop(event.creator_pid)
            if before is not None:
                before.release()
            self._last_exit.put(event.creator_pid, event.time - 1)
        self._keys.put(event.creator_pid, event.creator_key)

    def load(self, event: ImageLoad) -> None:
        """Take the mapping of an image."""
        process = self._running.get(event.pid) or self._new(event.pid)
        if process.modules is None:
            process.modules = ModuleMap()
        if process.modules.load(event):
            self._contradict(MAPPED_OVER, process)
        if process.wants_path:
            process.see(event.image, mapped=not event.rundown)
        elif event.image and process.other_programs((event.image,)):
            self._contradict(SECOND_PROGRAM, process)
        self._track(event.pid, process)

    def refuse(self, event: ImageLoad) -> None:
        """Take an image that cannot be mapped where *event* says."""
        process = self._running.get(event.pid) or self._new(event.pid)
        self._contradict(IMPOSSIBLE_IMAGE, process)
        self._track(event.pid, process)

    def unload(self, event: ImageUnload) -> None:
        """Take the unmapping of an image, which may come in the tick of the exit."""
        process = self._running.get(event.pid)
        if process is not None:
            modules = process.modules
            known = modules is not None and modules.unload(event, keep=event.time <= process.awaited)
            self._track(event.pid, process)
        else:
            known, process = False, self._just_exited.get(event.pid) if event.time == self._latest_exit else None
        if process is not None and not known and not process.seen_to_start:
            process.see(event.image, mapped=False)

    def take(self, images: ImageColumns) -> bool:
        """Take the next image events of a process at once, if that is as if one by one; return whether it was."""
        process = self._running.get(images.pid) or self._new(images.pid)
        unload = images.first_unload
        if process.name or (unload is not None and (process.wants_path or unload <= process.awaited)):
            return False
        modules = ModuleMap() if process.modules is None else process.modules
        if not modules.take(images):
            return False
        process.modules = modules
        if process.wants_path:
            process.see_all(images.mapped())
        else:
            for path in process.other_programs(images.paths()):
                for _ in range(images.events_of(path)):
                    self._contradict(SECOND_PROGRAM, process)
        self._track(images.pid, process)
        return True

    # -- queries

    def at(self, pid: int, time: int) -> TrackedProcess | None:
        """Return the process that *pid* identifies at *time*, the time of the latest event.

        At equal timestamps, actions precede the exit.
        """
        process = self._running.get(pid)
        if process is None and time == self._latest_exit:
            process = self._just_exited.get(pid)
        return process if process is not None and process.complete else self._completed(pid, time, process)

    def _completed(self, pid: int, time: int, process: TrackedProcess | None) -> TrackedProcess | None:
        """Return *process* with what a listing or its exit to come tell of it."""
        for told in (self._listed.get(pid), self._first_exit.get(pid)):
            # Neither start nor exit seen: it is of this process unless the id is reused before it.
            if told is not None and pid not in self._last_exit and self.is_one_until(pid, max(time, told.time)):
                process = process or self._new(pid)
                learn_from(process, told)
                self._track(pid, process)
        if process is not None:
            process.complete = True
        return process

    def now(self, pid: int, time: int) -> TrackedProcess:
        """Return what `at` returns, or a process about which nothing is known yet."""
        return self.at(pid, time) or self._track(pid, self._new(pid))

    def since(self, pid: int) -> int:
        """Return the FILETIME before which events of *pid* belong to an earlier process with that id."""
        process = self._running.get(pid)
        if process and process.seen_to_start and process.known:
            return process.known.time
        return self._last_exit.get(pid) or 0

    def parent(self, process: TrackedProcess, time: int) -> TrackedProcess | None:
        """Return the parent of *process*, as of the start of *process*.

        For a process that was only listed, the parent's id may have been reused. It still identifies the parent if
        that process started first.
        """
        known = process.known
        if process.seen_to_start or known is None or known.parent_pid is None:
            return process.parent
        candidate = self._parent(known.parent_pid, time)
        if candidate is None or candidate.known is None or known.parent_pid == SYSTEM_PID:
            return candidate
        started, parent_started = start_time(known), start_time(candidate.known)
        sure = started is not None and parent_started is not None and parent_started <= started
        return candidate if sure else None

    # -- memory

    def exited_parent(self, process: TrackedProcess) -> ProcessStart | None:
        """Return the start of the parent of *process* where it exited, so that none of its images is followed."""
        started = process.parent.known if process.parent else None
        if not isinstance(started, ProcessStart) or self._running.get(started.pid) is process.parent:
            return None
        return started

    def _track(self, pid: int, process: TrackedProcess) -> TrackedProcess:
        """Make *process*, as it now is, the newest entry."""
        for forgotten_pid, forgotten in self._running.put(pid, process, process.weight):
            forgotten.release()
            if forgotten.known is not None:
                self._forgotten.add(forgotten_pid)
        return process

    def _replace(self, pid: int, process: TrackedProcess | None, by: TrackedProcess) -> None:
        """Track a process in place of *process*, which was not told to exit; count it if their names differ."""
        if process is not None:
            names = (each.known.image if each.known else None for each in (process, by))
            if not is_same_program(*names):
                self._contradict(RENAMED, process, by)
            process.release()
        self._keys.pop(pid)
        self._track(pid, by)

    def _contradict(self, evidence: str, *processes: TrackedProcess) -> None:
        self.contradictions[evidence] += 1
        for process in processes:
            process.contradict(evidence)

    def _new(self, pid: int) -> TrackedProcess:
        """Return a process about which nothing is known, or not any more."""
        return TrackedProcess(forgotten=self._forgotten.why(pid))

    def _parent(self, pid: int, time: int) -> TrackedProcess | None:
        """Return the process *pid*, or one without a name if it was forgotten; None where events never named it.

        Its images alone make no parent: some sources tell them only once there is a remote thread.
        """
        parent = self.at(pid, time) or self._new(pid)
        return parent if parent.known or parent.forgotten else None

    def _forget_ids(self, evicted: Sequence[object]) -> None:
        if evicted:
            self._forgets_ids = True
            self._forgotten.add_any()

    def _learn(self, pid: int, process: TrackedProcess, known: KnownProcess) -> None:
        process.learn(known)
        self._track(pid, process)
