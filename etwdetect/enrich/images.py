"""Which image of a process, or of the kernel, holds an address, and whether all its images are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import IDLE_PID, SYSTEM_PID
from etwdetect.enrich.fields import END_OF_PROGRAMS, KERNEL_SPACE
from etwdetect.enrich.modules import ComingModules, module_of

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload, Loss
    from etwdetect.enrich.image_columns import ImageColumns
    from etwdetect.enrich.modules import Module, ModuleMap
    from etwdetect.enrich.process_tracker import ProcessTracker
    from etwdetect.enrich.tracked_process import TrackedProcess

TOO_MANY_IMAGES: Final = "there are more images than are remembered"

_FOUR_GIBIBYTES: Final = 1 << 32
"""More than an image can have: its header tells the size in 32 bits."""


class ImageFinder:
    """Finds images among those of *processes*, and among those that later events show to be mapped already.

    *source* names the event source in reasons. *pointer_size* is the machine's, in bytes.
    """

    def __init__(self, processes: ProcessTracker, source: str, pointer_size: int) -> None:
        self.coming = ComingModules()
        self._processes = processes
        self._source = source
        self._end_of_programs = END_OF_PROGRAMS[pointer_size]
        self._kernel_space = KERNEL_SPACE[pointer_size]
        self._end_of_memory = 1 << 8 * pointer_size
        self._lossy = False
        self.forgets = False
        """Whether image events were forgotten."""

    def prescan(self, event: ImageLoad | ImageUnload) -> None:
        """Take an event of the same trace ahead of time."""
        if self._is_possible(event):
            self.coming.prescan(event)

    def load(self, event: ImageLoad) -> None:
        """Take the mapping or the listing of an image."""
        if self._is_possible(event):
            self.coming.observe(event)
            self._processes.load(event)
        else:
            self._processes.refuse(event)

    def unload(self, event: ImageUnload) -> None:
        """Take the unmapping of an image."""
        self.coming.observe(event)
        self._processes.unload(event)

    def _is_possible(self, event: ImageLoad | ImageUnload) -> bool:
        """Whether an image can lie where *event* says. A program of 32-bit Windows may have 3 GiB."""
        is_in_program = event.base < self._end_of_programs and self._end_of_memory > _FOUR_GIBIBYTES
        end = self._end_of_programs if is_in_program else self._end_of_memory
        return event.size < _FOUR_GIBIBYTES and event.base + event.size <= end

    def prescan_all(self, images: ImageColumns, seen: set[int]) -> bool:
        """Take events of one process ahead of time, and return whether that was possible at once.

        *seen* are the bases of images that events of the process before these map.
        """
        if not self._are_possible(images):
            return False
        for event in images.known_before(seen):
            self.coming.prescan(event)
        return True

    def take(self, images: ImageColumns) -> bool:
        """Take the next events of a process, and return whether that was possible at once."""
        if not self._are_possible(images) or not self._processes.take(images):
            return False
        self.coming.take(images)
        return True

    def _are_possible(self, images: ImageColumns) -> bool:
        is_large = self._end_of_memory > _FOUR_GIBIBYTES
        return images.are_possible(self._end_of_programs if is_large else 0, self._end_of_memory, _FOUR_GIBIBYTES)

    def lost(self, event: Loss) -> None:
        """Take a loss of events, which may include image events."""
        self._lossy |= event.events > 0 or event.buffers > 0

    def at(self, pid: int, process: TrackedProcess, address: int, time: int) -> Module | None:
        """Return the image of *process* with the id *pid*, or of the kernel, that holds *address* at *time*."""
        if address >= self._kernel_space:
            return self.in_kernel(address, time)
        module = self._in_process(pid, process, address, time)
        return self.in_kernel(address, time) if module is None and address >= self._end_of_programs else module

    def in_kernel(self, address: int, time: int) -> Module | None:
        """Return the kernel's image; the kernel logger lists those under one of the two system processes."""
        for pid in (IDLE_PID, SYSTEM_PID):
            module = self._in_process(pid, self._processes.at(pid, time), address, time)
            if module is not None:
                return module
        return None

    def _in_process(self, pid: int, process: TrackedProcess | None, address: int, time: int) -> Module | None:
        module = process.modules.at(address) if process and process.modules else None
        if module is not None:
            return module
        coming = None if process and process.seen_to_start else self.coming.at(pid, address)
        return module_of(coming) if coming is not None and self._shows(coming, pid, time) else None

    def _shows(self, event: ImageLoad | ImageUnload, pid: int, time: int) -> bool:
        """Whether *event*, a later one, shows an image that process *pid* had mapped at *time*."""
        return event.time > time and self._processes.is_one_until(pid, event.time)

    def is_any_known(self, pid: int, process: TrackedProcess, time: int) -> bool:
        """Whether a later event shows an image that *process* had mapped at *time*."""
        coming = None if process.seen_to_start else next(self.coming.of(pid), None)
        return coming is not None and self._shows(coming, pid, time)

    def why_not_all(self, pid: int, process: TrackedProcess, modules: ModuleMap | None, time: int) -> str | None:
        """Return why some images of *process*, of which *modules* are known, may not be; None if all are known."""
        listed = modules.listed if modules else None
        if listed is not None and listed >= time:
            return None
        if self._lossy:
            return "events are missing, so the images known of the target may not be all"
        if (modules and modules.cut) or self.coming.cut or self.forgets:
            return TOO_MANY_IMAGES
        if process.seen_to_start or listed is not None:
            return None
        listing = self.coming.listing(pid)
        if listing is not None and self._shows(listing, pid, time):
            return None
        return f"{self._source} tells of some of the target's images only, as the target is older"
