"""Where a thread starts: the image that holds the start address, the offset in it, and the exported function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import IDLE_PID, SYSTEM_PID
from etwdetect.enrich.absent import OUTSIDE
from etwdetect.enrich.detection import Start
from etwdetect.enrich.fields import END_OF_PROGRAMS, KERNEL_SPACE
from etwdetect.enrich.modules import ComingModules, Module, module_of

if TYPE_CHECKING:
    from etwdetect.core.events import Loss, ThreadStart
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.process_tracker import ProcessTracker, TrackedProcess

Absent = tuple[tuple[str, str], ...]


class StartFinder:
    """Finds the image that holds a start address among those of the target.

    *source* names the event source in reasons for missing fields. *pointer_size* is the machine's, in bytes.
    """

    def __init__(
        self, processes: ProcessTracker, paths: Paths, source: str, files: ImageFiles | None, pointer_size: int
    ) -> None:
        self.coming = ComingModules()
        self.pools = PoolStarts()
        self._processes = processes
        self._paths = paths
        self._source = source
        self._files = files
        self._end_of_programs = END_OF_PROGRAMS[pointer_size]
        self._kernel_space = KERNEL_SPACE[pointer_size]
        self._lossy = False

    def lost(self, event: Loss) -> None:
        """Take a loss of events, which may include image events."""
        self._lossy |= event.events > 0 or event.buffers > 0

    def module(self, thread: RemoteThread, target: TrackedProcess) -> Module | None:
        """Return the image that holds the start address of *thread* when it starts."""
        address = thread.start_address
        if address is None:
            return None
        if address >= self._kernel_space:
            return self._kernel_module(address, thread.time)
        module = target.modules.at(address) if target.modules else None
        if module is not None:
            return module
        module = next((each for each in self._mapped_already(thread, target) if each.holds(address)), None)
        if module is None and address >= self._end_of_programs:
            return self._kernel_module(address, thread.time)
        return module

    def _kernel_module(self, address: int, time: int) -> Module | None:
        """Return the kernel's image; the kernel logger lists those under one of the two system processes."""
        for pid in (IDLE_PID, SYSTEM_PID):
            process = self._processes.at(pid, time)
            module = process.modules.at(address) if process and process.modules else None
            if module is not None:
                return module
        return None

    def _mapped_already(self, thread: RemoteThread, target: TrackedProcess) -> list[Module]:
        """Return the images that later events show to be mapped now: they were mapped before the trace began."""
        if target.seen_to_start:
            return []
        events = self.coming.of(thread.pid)
        return [
            module_of(event)
            for event in events
            if event.time > thread.time and self._processes.does_not_start_before(thread.pid, event.time)
        ]

    def late(self, thread: RemoteThread, target: TrackedProcess, until: int) -> Module | None:
        """Return the image that holds the start address of *thread* and was mapped after it, but by *until*.

        It may be unmapped again by now: a process can exit as soon as it has started.
        """
        if thread.start_address is None or target.modules is None:
            return None
        module = target.modules.mapped_after(thread.time, thread.start_address)
        return module if module and module.time <= until else None

    def describe(
        self, thread: RemoteThread, target: TrackedProcess, module: Module | None
    ) -> tuple[Start, Absent]:
        """Return where *thread* starts in *module*, and the reason for each missing field."""
        address = thread.start_address
        if address is None:
            why = f"{self._source} does not tell"
            return Start(), (("StartAddress", why), *_nothing("the start address is not known"))
        pool = address in self.pools
        if module is None:
            return Start(pool=pool), _nothing(self._why_no_module(thread, address, target))
        offset = address - module.base
        if not module.path:
            why = f"{self._source} does not tell the image's name"
            return Start(None, offset, pool=pool), (("StartModule", why), ("StartFunction", why))
        path = self._paths.dos(module.path)
        if self._files is None:
            return Start(path, offset, pool=pool), (("StartFunction", "no file: no image files were given"),)
        function, why_not = self._files.function_at(path, module, offset)
        return Start(path, offset, function, pool), ((("StartFunction", why_not),) if why_not else ())

    def _why_no_module(self, thread: RemoteThread, address: int, target: TrackedProcess) -> str:
        if address >= self._end_of_programs:  # threads of LsaIso have such addresses, which need not be valid
            return f"{self._source} tells of no image of the kernel there"
        modules, mapped_already = target.modules, self._mapped_already(thread, target)
        if not modules and not mapped_already:
            return f"{self._source} does not tell of the target's images"
        return self._why_not_all(thread, target, mapped_already) or OUTSIDE

    def _why_not_all(
        self, thread: RemoteThread, target: TrackedProcess, mapped_already: list[Module]
    ) -> str | None:
        """Return why some images of *target* may be unknown, or None if all are known."""
        modules = target.modules
        listed = modules.listed if modules else None
        if listed is not None and listed >= thread.time:
            return None
        if self._lossy:
            return "events are missing, so the images known of the target may not be all"
        if modules and modules.cut:
            return "the target has more images than are remembered"
        if target.seen_to_start or listed is not None or any(each.stamp is not None for each in mapped_already):
            return None
        return f"{self._source} tells of some of the target's images only, as the target is older"


def _nothing(why: str) -> Absent:
    return ("StartModule", why), ("StartModuleOffset", why), ("StartFunction", why)


TOO_MANY_WAITED: Final = _nothing("too many remote threads waited at once for images that are mapped late")


class PoolStarts:
    """The addresses at which System starts threads in several processes: the start routine of thread-pool workers.

    Windows maps ntdll.dll at one address in all processes of a boot and bitness, so this routine has one address
    too. At most *bound* addresses are kept.
    """

    _MIN_PROCESSES: Final = 2

    def __init__(self, bound: int = 4096) -> None:
        self._bound = bound
        self._pids: dict[int, set[int]] = {}

    def observe(self, event: ThreadStart) -> None:
        """Take the start of a thread, of any kind and in any order."""
        if event.creator_pid != SYSTEM_PID or event.start_address is None or event.pid == SYSTEM_PID:
            return
        pids = self._pids.get(event.start_address)
        if pids is None:
            if len(self._pids) >= self._bound:
                return
            pids = self._pids[event.start_address] = set()
        if len(pids) < self._MIN_PROCESSES:
            pids.add(event.pid)

    def __contains__(self, address: int) -> bool:
        return len(self._pids.get(address, ())) >= self._MIN_PROCESSES
