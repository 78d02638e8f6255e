"""The images mapped into one process: which one holds an address."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload

MOST_OF_ONE: Final = 4096
"""How many images of one process are remembered; no sound process has so many."""


class Module(NamedTuple):
    """An image in a process: addresses from *base* on, *size* bytes; *checksum* and *stamp* are of its PE header.

    *path* is as the kernel gave it. *time* is when it was first told of. None is what was not told.
    """

    base: int
    size: int
    path: str | None
    checksum: int | None
    stamp: int | None
    time: int

    def holds(self, address: int) -> bool:
        """Whether *address* lies in this image."""
        return self.base <= address < self.base + self.size


def module_of(event: ImageLoad | ImageUnload) -> Module:
    """Return the image that *event* tells of."""
    checksum = getattr(event, "checksum", None)
    stamp = getattr(event, "time_date_stamp", None)
    return Module(event.base, event.size, event.image, checksum, stamp, event.time)


class ModuleMap:
    """The images of one process now, none over another; at most MOST_OF_ONE.

    *listed* is when the process was last asked for all its images, *cut* says that they were too many to remember.
    """

    __slots__ = ("_bases", "_kept", "_modules", "cut", "listed", "programs")

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._modules: dict[int, Module] = {}
        self._kept: list[Module] = []
        """Those that were unmapped while a thread's start waited for its image."""
        self.listed: int | None = None
        self.cut = False
        self.programs: dict[str, str] = {}
        """The paths of the .exe files among the images, by their names in lower case."""

    def __len__(self) -> int:
        """How many images are remembered."""
        return len(self._bases) + len(self._kept)

    def load(self, event: ImageLoad) -> None:
        """Take that an image was mapped, or found to be."""
        if event.rundown:
            self.listed = event.time
        module = module_of(event)
        known = self._modules.get(module.base)
        if known is not None and known.size == module.size:
            self._modules[module.base] = _fuller(known, module)
        else:
            self._clear(module)
            if len(self._bases) >= MOST_OF_ONE:
                self.cut = True
                return
            insort(self._bases, module.base)
            self._modules[module.base] = module
        if module.path and module.path[-4:].lower() == ".exe":
            self.programs[module.path.rpartition("\\")[2].lower()] = module.path

    def unload(self, event: ImageUnload, *, keep: bool = False) -> None:
        """Take that an image was unmapped; *keep* it for `mapped_after`, and else all that was kept no longer."""
        if not keep:
            self._kept.clear()
        if event.base in self._modules:
            if keep and len(self._kept) < MOST_OF_ONE:
                self._kept.append(self._modules[event.base])
            self._forget(event.base)

    def at(self, address: int) -> Module | None:
        """Return the image that holds *address*."""
        index = bisect_right(self._bases, address) - 1
        if index < 0:
            return None
        module = self._modules[self._bases[index]]
        return module if module.holds(address) else None

    def mapped_after(self, time: int, address: int) -> Module | None:
        """Return the image that first held *address* of those mapped after *time*, as far as it was kept."""
        kept = (each for each in self._kept if each.time > time and each.holds(address))
        return next(kept, None) or self.at(address)

    def _clear(self, module: Module) -> None:
        """Forget what *module* lies over: that it was unmapped was not told."""
        end = module.base + module.size
        index = max(bisect_right(self._bases, module.base) - 1, 0)
        while index < len(self._bases) and self._bases[index] < max(end, module.base + 1):
            base = self._bases[index]
            if base == module.base or base + self._modules[base].size > module.base:
                self._forget(base)
            else:
                index += 1

    def _forget(self, base: int) -> None:
        del self._modules[base]
        del self._bases[bisect_right(self._bases, base) - 1]


def _fuller(known: Module, told: Module) -> Module:
    """Return *told* with what only *known* has, where both are of the same file."""
    if known.path != told.path and known.path and told.path:
        return told
    return told._replace(
        path=told.path or known.path,
        checksum=told.checksum or known.checksum,
        stamp=told.stamp or known.stamp,
        time=known.time,
    )


class ComingModules:
    """What the events to come tell of images that were mapped all along: listings and unmappings.

    Of each image the earliest event counts: where that is its mapping, it was not mapped before. At most *bound*
    images of all processes are remembered; what comes after those is not.
    """

    def __init__(self, bound: int = 1 << 18) -> None:
        self._bound = bound
        self._count = 0
        self._events: dict[int, dict[int, ImageLoad | ImageUnload]] = {}

    def foresee(self, event: ImageLoad | ImageUnload) -> None:
        """Take an event before its turn; in any order."""
        if self._count >= self._bound:
            return
        events = self._events.setdefault(event.pid, {})
        known = events.get(event.base)
        self._count += known is None
        if known is None or event.time < known.time:
            events[event.base] = event

    def observe(self, event: ImageLoad | ImageUnload) -> None:
        """Take the next event in time order: from now on it tells nothing of what is to come."""
        events = self._events.get(event.pid)
        known = events.get(event.base) if events else None
        if events and known is not None and known.time <= event.time:
            del events[event.base]
            self._count -= 1
            if not events:
                del self._events[event.pid]

    def of(self, pid: int) -> list[ImageLoad | ImageUnload]:
        """Return the events to come that tell of an image of *pid* mapped now, if *pid* lives until then."""
        events = self._events.get(pid, {}).values()
        return [event for event in events if getattr(event, "rundown", True)]
