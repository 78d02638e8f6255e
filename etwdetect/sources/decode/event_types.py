"""Builds the records of core/events.py from the values that a layout reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.errors import PayloadError
from etwdetect.core.events import (
    Event,
    ImageLoad,
    ImageUnload,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
    ThreadStop,
    VolumeMapping,
)

if TYPE_CHECKING:
    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.decode.layout import Layout, Reader

# The values are those of the fields that an EventType names, in its order. Their types follow from the layouts,
# which mypy can't see.
Builder = Callable[..., Event]

_ID_MASK: Final = 0xFFFFFFFF
_POINTER_SIZES: Final = (4, 8)


def process_start(raw: RawEvent, pid: int, parent_pid: int | None, *rest: Any) -> ProcessStart:  # noqa: ANN401
    """Build the start of process *pid*; the header has the creator's ids."""
    return ProcessStart(raw.time, raw.pid, raw.tid, pid & _ID_MASK, _id(parent_pid), *_with_sequence(*rest))


def process_rundown(raw: RawEvent, pid: int, parent_pid: int | None, *rest: Any) -> ProcessRundown:  # noqa: ANN401
    """Build the rundown of process *pid*; the header's ids mean nothing."""
    return ProcessRundown(raw.time, pid & _ID_MASK, _id(parent_pid), *_with_sequence(*rest))


def _id(value: int | None) -> int | None:
    """Return *value* as a process id: in the first version, ids have the size of a pointer."""
    return None if value is None else value & _ID_MASK


def _with_sequence(*rest: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the fields behind the parent's id; a sequence number, the last of them, of 0 is none."""
    return (*rest[:5], *(sequence or None for sequence in rest[5:]))


def process_stop(raw: RawEvent, pid: int, parent_pid: int | None, *rest: Any) -> ProcessStop:  # noqa: ANN401
    """Build the exit of process *pid*."""
    return ProcessStop(raw.time, pid & _ID_MASK, _id(parent_pid), *_with_sequence(*rest))


def thread_start(raw: RawEvent, pid: int, tid: int, start_address: int | None) -> ThreadStart:
    """Build the start of thread *tid* in process *pid*; the header has the creator's ids."""
    return ThreadStart(raw.time, raw.pid, raw.tid, pid, tid, start_address, raw.container, raw.start_key)


def thread_rundown(raw: RawEvent, pid: int, tid: int, start_address: int | None) -> ThreadRundown:
    """Build the rundown of a thread; the header has that thread's ids or none."""
    return ThreadRundown(raw.time, pid, tid, start_address)


def thread_stop(raw: RawEvent, pid: int, tid: int) -> ThreadStop:
    """Build the exit of a thread."""
    return ThreadStop(raw.time, pid, tid)


def image_load(  # noqa: PLR0913, PLR0917 (the fields of the event)
    raw: RawEvent,
    pid: int | None,
    base: int,
    size: int,
    checksum: int | None,
    stamp: int | None,
    image: str | None,
) -> ImageLoad:
    """Build the load of an image; in its first version only the header has the process id."""
    return ImageLoad(raw.time, raw.pid if pid is None else pid, base, size, checksum, stamp, image)


def image_rundown(raw: RawEvent, *values: Any) -> ImageLoad:  # noqa: ANN401
    """Build the rundown of a mapped image."""
    return image_load(raw, *values)._replace(rundown=True)


def image_unload(raw: RawEvent, pid: int | None, base: int, size: int, *rest: Any) -> ImageUnload:  # noqa: ANN401
    """Build the unload of an image."""
    return ImageUnload(raw.time, raw.pid if pid is None else pid, base, size, rest[-1])


def volume_mapping(raw: RawEvent, device: str, path: str) -> VolumeMapping:
    """Build the mapping of a volume's device to a drive letter, or of another such prefix of paths."""
    return VolumeMapping(raw.time, device, path)


def machine_name(raw: RawEvent, name: str) -> MachineName:
    """Build the machine's name."""
    return MachineName(raw.time, name)


@dataclass(frozen=True)
class EventType:
    """One kind of event: its layouts by version, the fields to read, and the function that builds the record.

    Events that *grow* only ever get fields at their end, so an unknown later version is read as the latest known
    one. Of other events, an unknown version is read for the process id alone, which has always been at the start
    of the payload or, with *pid_behind_pointer*, after one pointer. With *either_pointer_size*, the header may be
    of a 32-bit program that logged the layout of a 64-bit kernel, so the payload decides.
    """

    kind: str
    layouts: tuple[Layout, ...]
    names: tuple[str, ...]
    builder: Builder
    grows: bool = False
    pid_behind_pointer: bool = False
    either_pointer_size: bool = False
    _readers: dict[tuple[int, int], Reader] = field(init=False)

    def __post_init__(self) -> None:
        readers = {
            (version, pointer_size): layout.reader(pointer_size, self.names)
            for version, layout in enumerate(self.layouts)
            for pointer_size in _POINTER_SIZES
        }
        object.__setattr__(self, "_readers", readers)

    def knows(self, version: int) -> bool:
        """Whether the layout of *version* is known."""
        return version < len(self.layouts)

    def fixed(self, version: int, pointer_size: int) -> tuple[dict[str, tuple[int, int]], int, tuple[str, ...]]:
        """Return where its fields are in a payload of a known *version*.

        That is the offset and size in bytes of each field that comes before the first string, and where that part
        ends; behind it are fields of the types returned last, up to the last one that is read.
        """
        return self.layouts[version].fixed(pointer_size, self.names)

    def sized(self, raw: RawEvent) -> RawEvent:
        """Return *raw* with the pointer size of its payload."""
        if not self.either_pointer_size or not (self.grows or self.knows(raw.version)):
            return raw
        version, other = self.latest(raw.version), sum(_POINTER_SIZES) - raw.pointer_size
        if self._readers[version, raw.pointer_size].fits(raw.payload):
            return raw
        return raw._replace(pointer_size=other) if self._readers[version, other].fits(raw.payload) else raw

    def decode(self, raw: RawEvent) -> Event:
        """Build the event of a `sized` *raw*; PayloadError where its payload is too short for its version."""
        if not self.grows and not self.knows(raw.version):
            return self.decode_pid(raw)
        return self.builder(raw, *self._readers[self.latest(raw.version), raw.pointer_size](raw.payload))

    def latest(self, version: int) -> int:
        """Return the version whose layout is read for *version*."""
        return min(version, len(self.layouts) - 1)

    def decode_pid(self, raw: RawEvent) -> Event:
        """Build the event of *raw* from its process id alone; PayloadError where even that is not there."""
        at = raw.pointer_size if self.pid_behind_pointer and raw.version else 0
        if len(raw.payload) < at + 4:
            raise PayloadError(f"a payload of {len(raw.payload)} bytes has no room for a process id")
        missing = (None,) * (len(self.names) - 1)
        return self.builder(raw, int.from_bytes(raw.payload[at : at + 4], "little"), *missing)
