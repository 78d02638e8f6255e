"""The images mapped into one process, and which of them holds an address."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload

MOST_OF_ONE: Final = 4096
"""The most images kept for one process; no ordinary process has as many."""


class Module(NamedTuple):
    """An image mapped into a process at *base*, *size* bytes; *checksum* and *stamp* are from its PE header.

    *path* is in the form the kernel uses. *time* is the FILETIME of the first event about it. Unknown fields are
    None.
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
    """Return the image that *event* describes."""
    checksum = getattr(event, "checksum", None)
    stamp = getattr(event, "time_date_stamp", None)
    return Module(event.base, event.size, event.image, checksum, stamp, event.time)


class ModuleMap:
    """The images mapped into one process now, without overlaps; at most MOST_OF_ONE.

    *listed* is the time of the latest listing of all its images, *cut* says whether there were too many to keep.
    """

    __slots__ = ("_bases", "_kept", "_modules", "cut", "listed", "programs")

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._modules: dict[int, Module] = {}
        self._kept: list[Module] = []
        """Those unmapped during the grace period of a thread that started outside any image."""
        self.listed: int | None = None
        self.cut = False
        self.programs: dict[str, str] = {}
        """The paths of the .exe files among the images, by lower-case file name."""

    def __len__(self) -> int:
        """Return the number of images kept."""
        return len(self._bases) + len(self._kept)

    def load(self, event: ImageLoad) -> None:
        """Take the mapping of an image, or the listing of a mapped one."""
        if event.rundown:
            self.listed = event.time
        module = module_of(event)
        known = self._modules.get(module.base)
        if known is not None and known.size == module.size:
            self._modules[module.base] = _completed(known, module)
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
        """Take the unmapping of an image; *keep* it for `mapped_after`, or discard all that were kept."""
        if not keep:
            self._kept.clear()
        if event.base in self._modules:
            if keep and len(self._kept) < MOST_OF_ONE:
                self._kept.append(self._modules[event.base])
            self._remove(event.base)

    def at(self, address: int) -> Module | None:
        """Return the image that holds *address*."""
        index = bisect_right(self._bases, address) - 1
        if index < 0:
            return None
        module = self._modules[self._bases[index]]
        return module if module.holds(address) else None

    def mapped_after(self, time: int, address: int) -> Module | None:
        """Return the first image mapped after *time* that held *address*, among those kept."""
        kept = (each for each in self._kept if each.time > time and each.holds(address))
        return next(kept, None) or self.at(address)

    def _clear(self, module: Module) -> None:
        """Remove the images that *module* overlaps: their unmapping was not recorded."""
        end = module.base + module.size
        index = max(bisect_right(self._bases, module.base) - 1, 0)
        while index < len(self._bases) and self._bases[index] < max(end, module.base + 1):
            base = self._bases[index]
            if base == module.base or base + self._modules[base].size > module.base:
                self._remove(base)
            else:
                index += 1

    def _remove(self, base: int) -> None:
        del self._modules[base]
        del self._bases[bisect_right(self._bases, base) - 1]


def _completed(known: Module, new: Module) -> Module:
    """Return *new* completed with the fields that only *known* has, if both are of the same file."""
    if known.path != new.path and known.path and new.path:
        return new
    return new._replace(
        path=new.path or known.path,
        checksum=new.checksum or known.checksum,
        stamp=new.stamp or known.stamp,
        time=known.time,
    )


class ComingModules:
    """Images shown by later events to be mapped already: by listings and unmappings.

    For each image the earliest event counts: if that is its mapping, it was not mapped before. At most *bound*
    images of all processes are kept; further ones are ignored.
    """

    def __init__(self, bound: int = 1 << 18) -> None:
        self._bound = bound
        self._count = 0
        self._events: dict[int, dict[int, ImageLoad | ImageUnload]] = {}

    def prescan(self, event: ImageLoad | ImageUnload) -> None:
        """Take an event ahead of time, in any order."""
        if self._count >= self._bound:
            return
        events = self._events.setdefault(event.pid, {})
        known = events.get(event.base)
        self._count += known is None
        if known is None or event.time < known.time:
            events[event.base] = event

    def observe(self, event: ImageLoad | ImageUnload) -> None:
        """Take the next event in time order, which is no longer a later one."""
        events = self._events.get(event.pid)
        known = events.get(event.base) if events else None
        if events and known is not None and known.time <= event.time:
            del events[event.base]
            self._count -= 1
            if not events:
                del self._events[event.pid]

    def of(self, pid: int) -> list[ImageLoad | ImageUnload]:
        """Return the later events that show an image mapped into *pid* now, if *pid* does not exit before them."""
        events = self._events.get(pid, {}).values()
        return [event for event in events if getattr(event, "rundown", True)]
