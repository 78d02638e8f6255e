"""The images mapped into one process, and which of them holds an address."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.enrich.programs import is_same_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.enrich.image_columns import ImageColumns

_Event = TypeVar("_Event", bound=ImageLoad | ImageUnload)

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
    if isinstance(event, ImageLoad):
        return Module(event.base, event.size, event.image, event.checksum, event.time_date_stamp, event.time)
    return Module(event.base, event.size, event.image, None, None, event.time)


class ModuleMap:
    """The images mapped into one process now, without overlaps; at most MOST_OF_ONE.

    *listed* is the time of the latest listing of all its images, *cut* says whether there were too many to keep.
    """

    __slots__ = ("_bases", "_changed", "_ends", "_kept", "_modules", "_read", "cut", "listed")

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._ends: list[int] = []
        """Where the images end, in the order of the bases."""
        self._modules: dict[int, Module | int] = {}
        """By base. Those of columns are the places of their events, until they are asked for."""
        self._read: Callable[[int], ImageLoad | ImageUnload] | None = None
        self._kept: list[Module] = []
        """Those unmapped during the grace period of a thread that started outside any image."""
        self._changed = False
        """Whether images were mapped or unmapped since `changed_paths` was asked."""
        self.listed: int | None = None
        self.cut = False

    def __len__(self) -> int:
        """Return the number of images kept."""
        return len(self._bases) + len(self._kept)

    def paths(self) -> Iterator[str | None]:
        """Yield the paths of the images mapped now, the one mapped first first."""
        return (self._module(base).path for base in self._modules)

    def changed_paths(self) -> Iterator[str | None]:
        """Yield the same if any image was mapped or unmapped since this was asked the last time."""
        if self._changed:
            self._changed = False
            yield from self.paths()

    def load(self, event: ImageLoad) -> bool:
        """Take the mapping of an image, or the listing of a mapped one; return whether it lies over another."""
        self._changed = True
        if event.rundown:
            self.listed = event.time
        module = module_of(event)
        known = self._module(module.base) if module.base in self._modules else None
        if known is not None and known.size == module.size:
            self._modules[module.base] = _completed(known, module)
            return not is_same_program(known.path, module.path)
        is_over = self._clear(module)
        if len(self._bases) >= MOST_OF_ONE:
            self.cut = True
        else:
            index = bisect_left(self._bases, module.base)
            self._bases.insert(index, module.base)
            self._ends.insert(index, module.base + module.size)
            self._modules[module.base] = module
        return is_over

    def take(self, images: ImageColumns) -> bool:
        """Take many events as `load` and `unload` would, keeping nothing; return whether that was possible.

        It is where the images do not bear on each other.
        """
        change = images.change(self._bases, self._ends, MOST_OF_ONE)
        if change is None:
            return False
        self._changed = True
        if images.first_unload is not None:
            self._kept.clear()
        self.listed = images.listed or self.listed
        self._read = images.read
        self._bases, self._ends = change.bases, change.ends
        for base in change.gone:
            del self._modules[base]
        self._modules.update(zip(change.mapped, change.places, strict=True))
        return True

    def unload(self, event: ImageUnload, *, keep: bool = False) -> bool:
        """Take the unmapping of an image, and return whether its mapping was known.

        *keep* it for `mapped_after`, or discard all that were kept.
        """
        if not keep:
            self._kept.clear()
        if event.base not in self._modules:
            return False
        self._changed = True
        if keep and len(self._kept) < MOST_OF_ONE:
            self._kept.append(self._module(event.base))
        del self._modules[event.base]
        index = bisect_left(self._bases, event.base)
        del self._bases[index], self._ends[index]
        return True

    def at(self, address: int) -> Module | None:
        """Return the image that holds *address*."""
        index = bisect_right(self._bases, address) - 1
        if index < 0:
            return None
        return self._module(self._bases[index]) if address < self._ends[index] else None

    def mapped_after(self, time: int, address: int) -> Module | None:
        """Return the first image mapped after *time* that held *address*, among those kept."""
        kept = (each for each in self._kept if each.time > time and each.holds(address))
        return next(kept, None) or self.at(address)

    def _clear(self, module: Module) -> bool:
        """Remove the images that *module* overlaps, whose unmapping was not recorded; return whether any are."""
        bases, start = self._bases, module.base
        end = max(start + module.size, start + 1)
        index = first = bisect_left(bases, start)
        if index and self._ends[index - 1] > start:
            first -= 1
        while index < len(bases) and bases[index] < end:
            index += 1
        for base in bases[first:index]:
            del self._modules[base]
        del bases[first:index], self._ends[first:index]
        return index > first

    def _module(self, base: int) -> Module:
        found = self._modules[base]
        if isinstance(found, Module):
            return found
        assert self._read is not None
        module = self._modules[base] = module_of(self._read(found))
        return module


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
    images of all processes are kept; `cut` says that there were more.
    """

    def __init__(self, bound: int = 1 << 18) -> None:
        self.cut = False
        self._bound = bound
        self._count = 0
        self._of: dict[int, _ComingOfOne] = {}

    def prescan(self, event: ImageLoad | ImageUnload) -> None:
        """Take an event ahead of time, in any order."""
        if self._count >= self._bound:
            self.cut = True
            return
        of_one = self._of.get(event.pid)
        if of_one is None:
            of_one = self._of[event.pid] = _ComingOfOne()
        known = of_one.events.get(event.base)
        self._count += known is None
        if known is None or event.time < known.time:
            of_one.put(event)

    def observe(self, event: ImageLoad | ImageUnload) -> None:
        """Take the next event in time order, which is no longer a later one."""
        of_one = self._of.get(event.pid)
        known = of_one.events.get(event.base) if of_one else None
        if of_one and known is not None and known.time <= event.time:
            del of_one.events[event.base]
            self._count -= 1
            if not of_one.events:
                del self._of[event.pid]

    def take(self, images: ImageColumns) -> None:
        """Take the next events of a process, which are no longer later ones."""
        of_one = self._of.get(images.pid)
        if of_one is not None:
            for base in of_one.events.keys() & images.base.tolist():
                del of_one.events[base]
                self._count -= 1
            if not of_one.events:
                del self._of[images.pid]

    def of(self, pid: int) -> Iterator[ImageLoad | ImageUnload]:
        """Yield the later events that show an image mapped into *pid* now, if *pid* does not exit before them."""
        return self._of[pid].shown() if pid in self._of else iter(())

    def at(self, pid: int, address: int) -> ImageLoad | ImageUnload | None:
        """Return the one of these events whose image holds *address*."""
        return self._of[pid].at(address) if pid in self._of else None

    def listing(self, pid: int) -> ImageLoad | None:
        """Return the earliest of these events that is part of a listing of all images of *pid*."""
        return self._of[pid].listing() if pid in self._of else None


class _ComingOfOne:
    """The earliest event about each image of one process, by base; in time order and by address once asked for."""

    __slots__ = ("_bases", "_listings", "_shown", "events")

    def __init__(self) -> None:
        self.events: dict[int, ImageLoad | ImageUnload] = {}
        self._shown: deque[ImageLoad | ImageUnload] | None = None
        self._listings: deque[ImageLoad] = deque()
        self._bases: list[int] = []

    def put(self, event: ImageLoad | ImageUnload) -> None:
        self.events[event.base] = event
        self._shown = None

    def shown(self) -> Iterator[ImageLoad | ImageUnload]:
        """Yield the events that show an image mapped before, in time order."""
        return (event for event in self._in_order() if self._is_to_come(event))

    def listing(self) -> ImageLoad | None:
        self._in_order()
        return _first(self._listings, self._is_to_come)

    def at(self, address: int) -> ImageLoad | ImageUnload | None:
        self._in_order()
        index = bisect_right(self._bases, address) - 1
        event = self.events.get(self._bases[index]) if index >= 0 else None
        return event if event is not None and address < event.base + event.size else None

    def _in_order(self) -> deque[ImageLoad | ImageUnload]:
        if self._shown is None:
            shown = [event for event in self.events.values() if getattr(event, "rundown", True)]
            self._shown = deque(sorted(shown, key=attrgetter("time")))
            stamped = (event for event in self._shown if getattr(event, "time_date_stamp", None) is not None)
            self._listings = deque(cast("Iterator[ImageLoad]", stamped))
            self._bases = sorted(event.base for event in shown)
        _first(self._shown, self._is_to_come)
        return self._shown

    def _is_to_come(self, event: ImageLoad | ImageUnload) -> bool:
        return self.events.get(event.base) is event


def _first(events: deque[_Event], is_to_come: Callable[[_Event], bool]) -> _Event | None:
    """Return the first of *events* that is still to come, and remove those before it."""
    while events and not is_to_come(events[0]):
        events.popleft()
    return events[0] if events else None
