"""Where a thread starts: the image that holds the start address, the offset in it, and the exported function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import IDLE_PID, SYSTEM_PID
from etwdetect.enrich.absent import OUTSIDE
from etwdetect.enrich.detection import Start
from etwdetect.enrich.fields import END_OF_PROGRAMS, KERNEL_SPACE
from etwdetect.enrich.modules import ComingModules, module_of

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload, Loss, ThreadStart
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.modules import Module, ModuleMap
    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.process_tracker import ProcessTracker
    from etwdetect.enrich.tracked_process import TrackedProcess

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
        self.forgets = False
        """Whether image events were forgotten."""

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
        coming = None if target.seen_to_start else self.coming.at(thread.pid, address)
        if coming is not None and self._is_of_target(coming, thread):
            return module_of(coming)
        if address >= self._end_of_programs:
            return self._kernel_module(address, thread.time)
        return None

    def _kernel_module(self, address: int, time: int) -> Module | None:
        """Return the kernel's image; the kernel logger lists those under one of the two system processes."""
        for pid in (IDLE_PID, SYSTEM_PID):
            process = self._processes.at(pid, time)
            module = process.modules.at(address) if process and process.modules else None
            if module is not None:
                return module
        return None

    def _is_of_target(self, event: ImageLoad | ImageUnload, thread: RemoteThread) -> bool:
        """Whether *event*, a later one, shows an image that the target of *thread* had mapped by then."""
        return event.time > thread.time and self._processes.is_one_until(thread.pid, event.time)

    @staticmethod
    def late(thread: RemoteThread, modules: ModuleMap | None, until: int) -> Module | None:
        """Return the image of *modules* that holds the start address of *thread*, mapped after it, but by *until*.

        It may be unmapped again by now: a process can exit as soon as it has started.
        """
        if thread.start_address is None or modules is None:
            return None
        module = modules.mapped_after(thread.time, thread.start_address)
        return module if module and module.time <= until else None

    def describe(
        self, thread: RemoteThread, target: TrackedProcess, modules: ModuleMap | None, module: Module | None
    ) -> tuple[Start, Absent]:
        """Return where *thread* starts in *module*, one of *modules*, and the reason for each missing field."""
        address = thread.start_address
        if address is None:
            why = f"{self._source} does not tell"
            return Start(), (("StartAddress", why), *_nothing("the start address is not known"))
        pool = address in self.pools
        if module is None:
            return Start(pool=pool), _nothing(self._why_no_module(thread, address, target, modules))
        offset = address - module.base
        if not module.path:
            why = f"{self._source} does not tell the image's name"
            return Start(None, offset, pool=pool), (("StartModule", why), ("StartFunction", why))
        path = self._paths.dos(module.path)
        if self._files is None:
            return Start(path, offset, pool=pool), (("StartFunction", "no file: no image files were given"),)
        function, why_not = self._files.function_at(path, module, offset)
        return Start(path, offset, function, pool), ((("StartFunction", why_not),) if why_not else ())

    def _why_no_module(
        self, thread: RemoteThread, address: int, target: TrackedProcess, modules: ModuleMap | None
    ) -> str:
        if address >= self._end_of_programs:  # threads of LsaIso have such addresses, which need not be valid
            return f"{self._source} tells of no image of the kernel there"
        coming = None if target.seen_to_start else next(self.coming.of(thread.pid), None)
        if target.forgotten:
            return target.forgotten
        if not modules and (coming is None or not self._is_of_target(coming, thread)):
            return _TOO_MANY if self.forgets else f"{self._source} does not tell of the target's images"
        return self._why_not_all(thread, target, modules) or OUTSIDE

    def _why_not_all(self, thread: RemoteThread, target: TrackedProcess, modules: ModuleMap | None) -> str | None:
        """Return why some images of *target* may be unknown, or None if all are known."""
        listed = modules.listed if modules else None
        if listed is not None and listed >= thread.time:
            return None
        if self._lossy:
            return "events are missing, so the images known of the target may not be all"
        if (modules and modules.cut) or self.coming.cut or self.forgets:
            return _TOO_MANY
        if target.seen_to_start or listed is not None:
            return None
        listing = self.coming.listing(thread.pid)
        if listing is not None and self._is_of_target(listing, thread):
            return None
        return f"{self._source} tells of some of the target's images only, as the target is older"


_TOO_MANY: Final = "there are more images than are remembered"


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
