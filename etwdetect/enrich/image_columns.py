"""Image events of one process in columns: many are followed at once where they do not bear on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etwdetect.core.prefilter import IMAGE_LISTING, IMAGE_LOAD, IMAGE_UNLOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from etwdetect.core.events import ImageLoad, ImageUnload

    Numbers = npt.NDArray[np.integer[Any]]


class Change(NamedTuple):
    """What events change in the images of a process: the bases that go, and then those mapped.

    *places* tells of each that comes the event that mapped it. *bases* and *ends* are those of all images then.
    """

    gone: list[int]
    mapped: list[int]
    places: list[int]
    bases: list[int]
    ends: list[int]


class ImageColumns:
    """Image events of process *pid* in time order: FILETIMEs, what each tells, base and size of the image.

    *place* is a number from which *read* returns the event. *names* returns the paths between two numbers.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (columns)
        self,
        pid: int,
        time: Numbers,
        kind: Numbers,
        base: Numbers,
        size: Numbers,
        place: Numbers,
        read: Callable[[int], ImageLoad | ImageUnload],
        names: Callable[[int, int], Sequence[str]],
        first: int = 0,
    ) -> None:
        self.pid = pid
        self.time = time
        self.kind = kind
        self.base = base
        self.size = size
        self.read = read
        self._end = base + size
        self._place = place
        self._names = names
        self._first = first

    def __len__(self) -> int:
        return len(self.time)

    def between(self, first: int, last: int) -> ImageColumns:
        """Return the events from number *first* to before *last*."""
        time, kind, base, size, place = (
            each[first:last] for each in (self.time, self.kind, self.base, self.size, self._place)
        )
        return ImageColumns(self.pid, time, kind, base, size, place, self.read, self._names, self._first + first)

    @property
    def listed(self) -> int | None:
        """The FILETIME of the last event that tells of an image that was there before."""
        listings = np.flatnonzero(self.kind == IMAGE_LISTING)
        return int(self.time[listings[-1]]) if len(listings) else None

    @property
    def first_unload(self) -> int | None:
        """The FILETIME of the first unmapping."""
        unloads = np.flatnonzero(self.kind == IMAGE_UNLOAD)
        return int(self.time[unloads[0]]) if len(unloads) else None

    def paths(self) -> set[str]:
        """Return the paths of the images, each once."""
        return set(self._all_names())

    def mapped(self) -> Iterator[tuple[str, bool]]:
        """Yield the paths in order, and whether each was mapped just now."""
        return zip(self._all_names(), (self.kind == IMAGE_LOAD).tolist(), strict=True)

    def events_of(self, path: str) -> int:
        """Return how many events tell that the image at *path* is mapped."""
        loads = (self.kind != IMAGE_UNLOAD).tolist()
        return sum(is_load and name == path for name, is_load in zip(self._all_names(), loads, strict=True))

    def _all_names(self) -> Sequence[str]:
        return self._names(self._first, self._first + len(self))

    def are_possible(self, end_of_programs: int, end_of_memory: int, most: int) -> bool:
        """Whether all images lie where images can: below an end, and smaller than *most* bytes."""
        last = np.where(
            self.base < np.uint64(end_of_programs), np.uint64(end_of_programs), np.uint64(end_of_memory - 1)
        )
        fine = (self.size < np.uint64(most)) & (self._end >= self.base) & (self._end <= last)
        return bool(fine.all())

    def known_before(self, seen: set[int]) -> list[ImageLoad | ImageUnload]:
        """Return the first event of each image that does not tell its mapping, so that it was there before.

        *seen* are the bases of images mapped before these events, and then before the ones behind them.
        """
        bases, firsts = np.unique(self.base, return_index=True)
        loads = self.kind[firsts] == IMAGE_LOAD
        rows = np.sort(firsts[~loads])
        found = [
            place
            for base, place in zip(self.base[rows].tolist(), self._place[rows].tolist(), strict=True)
            if base not in seen
        ]
        seen.update(bases[loads].tolist())
        return [self.read(place) for place in found]

    def change(self, bases: Sequence[int], ends: Sequence[int], most: int) -> Change | None:
        """Return what the events change where images from *bases* to *ends*, which ascend, are mapped.

        None where the events bear on each other: where an image lies over another one or is mapped twice, or where
        there may be more images than *most*.
        """
        loads = self.kind != IMAGE_UNLOAD
        if len(bases) + np.count_nonzero(loads) > most or not self.size.all():
            return None
        order = np.argsort(self.base, kind="stable")  # the events of each image together, in order of time
        base, end, loads = self.base[order], self._end[order], loads[order]
        again = base[1:] == base[:-1]
        if not np.where(again, end[1:] == end[:-1], base[1:] >= end[:-1]).all():
            return None
        firsts = np.concatenate(([True], ~again))
        lasts = np.concatenate((~again, [True]))
        had, had_until = np.array(bases, np.uint64), np.array(ends, np.uint64)
        is_known = _fit(had, had_until, base[firsts], end[firsts])
        if is_known is None or bool(np.any(loads[firsts] & is_known) | np.any(again & loads[1:] & loads[:-1])):
            return None
        left = np.isin(had, base[firsts], invert=True) if len(had) else np.zeros(0, np.bool_)
        stays = loads[lasts]
        new, new_until = base[lasts][stays], end[lasts][stays]
        rows = order[lasts][stays]
        by_time = np.argsort(rows)
        all_bases, all_ends = np.concatenate((had[left], new)), np.concatenate((had_until[left], new_until))
        by_base = np.argsort(all_bases)
        return Change(
            had[~left].tolist(),
            new[by_time].tolist(),
            self._place[rows[by_time]].tolist(),
            all_bases[by_base].tolist(),
            all_ends[by_base].tolist(),
        )


def _fit(had: Numbers, had_until: Numbers, base: Numbers, end: Numbers) -> npt.NDArray[np.bool_] | None:
    """Return which images from *base* to *end* are among those mapped; None if one lies over another of those."""
    if not len(had):
        return np.zeros(len(base), np.bool_)
    at = np.searchsorted(had, base)
    here, before = np.minimum(at, len(had) - 1), np.maximum(at - 1, 0)
    known: npt.NDArray[np.bool_] = (at < len(had)) & (had[here] == base)
    clear = (at == 0) | (had_until[before] <= base)
    clear &= np.where(known, had_until[here] == end, (at == len(had)) | (had[here] >= end))
    return known if clear.all() else None
