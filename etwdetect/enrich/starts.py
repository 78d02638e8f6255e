"""Where a thread starts: the image that holds the start address, the offset in it, and the exported function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import SYSTEM_PID
from etwdetect.enrich.absent import OUTSIDE
from etwdetect.enrich.detection import Start
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.enrich.images import TOO_MANY_IMAGES

if TYPE_CHECKING:
    from etwdetect.core.events import ThreadStart
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.images import ImageFinder
    from etwdetect.enrich.modules import Module, ModuleMap
    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.tracked_process import TrackedProcess

Absent = tuple[tuple[str, str], ...]


class StartFinder:
    """Finds the image that holds a start address among those of the target.

    *source* names the event source in reasons for missing fields. *pointer_size* is the machine's, in bytes.
    """

    def __init__(
        self, images: ImageFinder, paths: Paths, source: str, files: ImageFiles | None, pointer_size: int
    ) -> None:
        self.pools = PoolStarts()
        self._images = images
        self._paths = paths
        self._source = source
        self._files = files
        self._end_of_programs = END_OF_PROGRAMS[pointer_size]

    def module(self, thread: RemoteThread, target: TrackedProcess) -> Module | None:
        """Return the image that holds the start address of *thread* when it starts."""
        address = thread.start_address
        return None if address is None else self._images.at(thread.pid, target, address, thread.time)

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
        if target.forgotten:
            return target.forgotten
        if not modules and not self._images.is_any_known(thread.pid, target, thread.time):
            too_many = TOO_MANY_IMAGES if self._images.forgets else None
            return too_many or f"{self._source} does not tell of the target's images"
        return self._images.why_not_all(thread.pid, target, modules, thread.time) or OUTSIDE


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
