"""Turns the records of Sysmon into detections: each remote thread with what the other events say about it."""

from __future__ import annotations

from bisect import insort
from dataclasses import fields
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.order import Sorter
from etwdetect.core.rule import RemoteThread
from etwdetect.core.sysmon import DeferredAccess, SysmonAccess, SysmonExit, SysmonImage, SysmonStart, SysmonThread
from etwdetect.enrich.absent import NO_EXPORT, OUTSIDE
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.enrich.fields import KERNEL_SPACE
from etwdetect.enrich.kinds import Kinds
from etwdetect.enrich.prior_access import NOT_KNOWN, PriorAccesses

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from etwdetect.core.sysmon import SysmonProcess, SysmonRecord
    from etwdetect.enrich.prior_access import Prior

    _Reasons = tuple[tuple[str, str], ...]
    _Text = str | None
    _Kept = tuple[int, _Text, SysmonProcess, SysmonProcess, int, int | None, int, _Text, _Text, _Text, Prior]
    """The values of a thread, and the access before it, of those that came before it."""

_NOT_TOLD: Final = "Sysmon does not tell"
_NO_START: Final = "the recording has no event 1 of this process"
_MAX_PROCESSES: Final = 200_000
_MAX_TEXT: Final = 64 << 20
"""How many characters of command lines and paths are kept."""
_MAX_MADE: Final = 4096

_NAMES: Final = tuple(field.name for field in fields(Detection))
_THREAD, _RULE_NAME, _PRIOR_ACCESS, _ABSENT = map(_NAMES.index, ("thread", "rule_name", "prior_access", "absent"))

_USES: Final = 32
"""How many starts and exits with one process id are kept."""


class _Known(NamedTuple):
    """What events tell of one process: its start, or the image and the user in other events."""

    start: SysmonStart | None
    image: str | None
    user: str | None


class SysmonEnricher:
    """Takes the records of one recording, in any order, and then yields its detections in the order of time.

    What is kept of other events is bounded; `forgotten` counts the processes of which something was given up.
    OSError where threads that do not fit in memory can't be written to a temporary file.
    """

    def __init__(self, kinds: Kinds | None = None) -> None:
        self.forgotten = 0
        self.span: tuple[int, int] | None = None
        """The FILETIMEs of the first and the last record."""
        self._kinds = kinds or Kinds()
        self._threads: Sorter[_Kept] = Sorter(itemgetter(0))
        self._processes: BoundedMap[Hashable, _Known] = BoundedMap(_MAX_PROCESSES, _MAX_TEXT)
        self._by_pid: BoundedMap[Hashable, list[tuple[int, bool, Hashable]]] = BoundedMap(_MAX_PROCESSES)
        """By host and process id, in the order of time: when a process started or exited, and its key."""
        self._accesses = PriorAccesses()
        self._handlers: dict[type, Callable[..., object]] = {
            SysmonThread: self._thread,
            SysmonAccess: self._accesses.access,
            DeferredAccess: self._accesses.access,
            SysmonStart: self._start,
            SysmonExit: self._exit,
            SysmonImage: self._named,
        }

    def __len__(self) -> int:
        """How many remote threads there were."""
        return len(self._threads)

    def observe(self, record: SysmonRecord | DeferredAccess) -> None:
        """Take the next record."""
        time = record.time
        first, last = self.span or (time, time)
        if not first < time <= last:
            self.span = min(first, time), max(last, time)
        handler = self._handlers.get(type(record))
        if handler is not None:
            handler(record)

    def detections(self) -> Iterator[Detection]:
        """Yield the detections; once, when all records were taken."""
        made: BoundedMap[Hashable, tuple[list[Any], _Reasons]] = BoundedMap(_MAX_MADE)
        """The values of detections, which are copied in half the time that `dataclasses.replace` takes.

        Beside them what they lack without regard to accesses.
        """
        for kept in self._threads:
            time, host, source, target, tid, address, pointer_size, module, function, rule_name, prior = kept
            # The same in repeats of the events of two processes, which are told from others by their GUIDs.
            key = host, source, target, address, pointer_size, module, function
            known = made.get(key) if source.guid and target.guid else None
            if known is None:
                detection = self._kinds.classify(self._detection(SysmonThread(*kept[:-1])))
                known = [getattr(detection, name) for name in _NAMES], detection.absent
                made.put(key, known)
            values, absent = known
            told = self._accesses.last(time, host, source, target, prior)
            values[_THREAD] = RemoteThread(time, source.pid or 0, None, target.pid or 0, tid, address)
            values[_RULE_NAME] = rule_name
            values[_PRIOR_ACCESS] = told or ()
            values[_ABSENT] = absent if told is not None else (*absent, ("PriorAccess", NOT_KNOWN))
            yield Detection(*values)

    # -- records

    def _thread(self, thread: SysmonThread) -> None:
        # A plain tuple: a class of its own takes three times as long into a temporary file and out again.
        self._threads.add((*thread, self._accesses.thread(thread)))

    def _start(self, start: SysmonStart) -> None:
        process = start.process
        key = _key(start.host, process, start.time)
        texts = process.image, process.user, start.command_line, start.parent.image, start.parent_command_line
        self._remember(key, _Known(start, process.image, process.user), sum(len(each or "") for each in texts))
        self._used(start, key, exited=False)

    def _exit(self, exit_: SysmonExit) -> None:
        self._named(exit_)
        self._used(exit_, None, exited=True)

    def _used(self, event: SysmonStart | SysmonExit, key: Hashable, *, exited: bool) -> None:
        """Keep when the process id of *event* came into use or out of it."""
        if event.process.pid is None:
            return
        pid = event.host, event.process.pid
        uses = self._by_pid.get(pid) or []
        insort(uses, (event.time, exited, key), key=itemgetter(0, 1))
        if len(uses) > _USES:
            del uses[0]  # of the time before the others nothing is known, then
        self._by_pid.put(pid, uses)

    def _named(self, event: SysmonExit | SysmonImage) -> None:
        """Take image and user from an event that has them, for a process whose start is not in the recording."""
        process = event.process
        key = (event.host, process.guid)
        if process.guid and self._processes.get(key) is None:
            weight = len(process.image or "") + len(process.user or "")
            self._remember(key, _Known(None, process.image, process.user), weight)

    def _remember(self, key: Hashable, known: _Known, weight: int) -> None:
        self.forgotten += len(self._processes.put(key, known, weight))

    # -- detections

    def _detection(self, thread: SysmonThread) -> Detection:
        source, no_source = self._process("Source", thread.source, thread)
        target, no_target = self._process("Target", thread.target, thread)
        return Detection(
            RemoteThread(thread.time, source.pid, None, target.pid, thread.tid, thread.start_address),
            "sysmon",
            source,
            target,
            Start(thread.start_module, None, thread.start_function),
            thread.pointer_size,
            thread.host,
            absent=(
                *([] if thread.host else [("Computer", "the recording does not tell")]),
                ("SourceThreadId", _NOT_TOLD),
                *no_source,
                *no_target,
                *_absent_start(thread),
            ),
        )

    def _process(
        self, side: str, process: SysmonProcess, thread: SysmonThread
    ) -> tuple[Process, list[tuple[str, str]]]:
        """Return what is known of *process*, and the reasons for what is not."""
        pid = process.pid
        assert pid is not None  # of an event 8
        known = self._known(thread.host, process, thread.time) or _Known(None, None, None)
        start = known.start
        if start is None:
            made = Process(pid, process.image or known.image, user=process.user or known.user, guid=process.guid)
        else:
            made = Process(
                pid,
                process.image or known.image,
                start.command_line,
                start.parent.pid,
                start.parent.image,
                start.parent_command_line,
                process.user or known.user,
                start.session_id,
                start.time,
                process.guid or start.process.guid,
            )
        why = _NO_START if start is None else _NOT_TOLD
        missing = (name for name, attribute in _ATTRIBUTES.items() if getattr(made, attribute) is None)
        return made, [(f"{side}{name}", why) for name in missing]

    def _known(self, host: str | None, process: SysmonProcess, time: int) -> _Known | None:
        """Return what is known of *process* at *time*; without a ProcessGuid, of the one that ran with its id."""
        if process.guid:
            return self._processes.get((host, process.guid))
        for used, exited, key in reversed(self._by_pid.get((host, process.pid)) or ()):
            if used < time or (used == time and not exited):
                return None if exited else self._processes.get(key)
        return None


_ATTRIBUTES: Final = {
    "ProcessGuid": "guid",
    "Image": "image",
    "CommandLine": "command_line",
    "User": "user",
    "TerminalSessionId": "session_id",
    "StartTime": "start_time",
    "ParentProcessId": "parent_pid",
    "ParentImage": "parent_image",
    "ParentCommandLine": "parent_command_line",
}


def _key(host: str | None, process: SysmonProcess, time: int) -> Hashable:
    return (host, process.guid) if process.guid else (host, process.pid, time)


def _absent_start(thread: SysmonThread) -> list[tuple[str, str]]:
    if thread.start_address is None:
        why = f"{_NOT_TOLD} the start address"
        return [("StartAddress", why), *((name, why) for name in ("StartModule", "StartFunction"))]
    if thread.start_module is None:
        in_kernel = thread.start_address >= KERNEL_SPACE[thread.pointer_size]
        why = f"{_NOT_TOLD} images of the kernel" if in_kernel else OUTSIDE
        return [("StartModule", why), ("StartFunction", why)]
    offset = [("StartModuleOffset", f"{_NOT_TOLD} where modules lie")]
    return offset if thread.start_function else [*offset, ("StartFunction", NO_EXPORT)]
