"""Decodes payloads to the records of core/events.py, for both providers of process events."""

from __future__ import annotations

from collections import Counter
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import PayloadError
from etwdetect.core.events import Event, Loss
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, LOST_EVENTS
from etwdetect.sources.decode import event_types, kernel_process, system_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.decode.event_types import EventType

_TYPES: Final[dict[tuple[bytes, int], EventType]] = {
    **{(KERNEL_PROCESS, event_id): kind for event_id, kind in kernel_process.EVENTS.items()},
    **{
        (provider, opcode): kind
        for provider, kinds in system_trace.EVENTS.items()
        for opcode, kind in kinds.items()
    },
}
"""By provider and event id or, for the classic classes, opcode."""

IMAGE_PIDS: Final = {
    size: Struct(f"<{kernel_process.EVENTS[5].layouts[0].offset_of('ProcessID', size)}xI").unpack_from
    for size in (4, 8)
}
"""By pointer size: returns the process id in an image event's payload, as the only item; struct.error where the
payload is too short. It stands in the same place in every version of both providers but the classic version 0."""

_IMAGE_BUILDERS: Final = frozenset((event_types.image_load, event_types.image_rundown, event_types.image_unload))

# RT_LostEvent, MSDN: 32 an event was lost, 33 a buffer, 34 a file.
_LOST_KINDS: Final = {32: (1, 0), 33: (0, 1), 34: (0, 1)}


def classic_opcodes(*, images: bool) -> dict[bytes, frozenset[int]]:
    """Return the opcodes that `Decoder` knows of each classic class; those of images only with *images*."""
    return {
        provider: frozenset(kinds)
        for provider, kinds in system_trace.EVENTS.items()
        if images or provider != IMAGE
    }


def image_kind(hook: int) -> str:
    """Return the kind of the kernel's image event with this hook id: its lower byte is the opcode."""
    return system_trace.EVENTS[IMAGE][hook & 0xFF].kind


def image_pid(raw: RawEvent) -> int | None:
    """Return the process of an image event without decoding the rest; None where the payload is too short."""
    if raw.version == 0 and raw.provider != KERNEL_PROCESS:
        return raw.pid  # the classic version 0 has no process id but the header's
    try:
        pid: int = IMAGE_PIDS[raw.pointer_size](raw.payload)[0]
    except struct_error:
        return None
    return pid


class Decoder:
    """Decodes raw events and counts them.

    `counts` has the number of events by kind, `unknown_versions` those of a version newer than any known layout,
    by (kind, version). *images* says whether to decode image events; otherwise they are passed to *aside*, where
    it is given: undecoded, but with the pointer size of their payload. *damaged* is called with the file offset
    and the reason for each payload that is too short for its version.
    """

    def __init__(
        self,
        damaged: Callable[[int, str], None],
        *,
        images: bool = False,
        aside: Callable[[RawEvent], None] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.unknown_versions: Counter[tuple[str, int]] = Counter()
        self._damaged = damaged
        self._images = images
        self._aside = aside

    def decode(self, raw: RawEvent) -> Event | None:
        """Return the event in *raw*, or None where it is of no known kind or can't be read."""
        if raw.provider == LOST_EVENTS:
            self.counts["LostEvents"] += 1
            return Loss(raw.time, *_LOST_KINDS.get(raw.opcode, (1, 0)))
        event_type = _TYPES.get((raw.provider, raw.id if raw.provider == KERNEL_PROCESS else raw.opcode))
        if event_type is None:
            return None
        self.counts[event_type.kind] += 1
        if event_type.builder not in _IMAGE_BUILDERS:
            raw = event_type.sized(raw)
        elif not self._images:
            if self._aside is not None:
                self._aside(event_type.sized(raw))
            return None
        if not event_type.knows(raw.version):
            self.unknown_versions[event_type.kind, raw.version] += 1
        try:
            return event_type.decode(raw)
        except PayloadError as error:
            self._damaged(raw.offset, f"{event_type.kind} version {raw.version}: {error}")
        return self._at_least_its_pid(event_type, raw)

    def _at_least_its_pid(self, event_type: EventType, raw: RawEvent) -> Event | None:
        """Return a process event with a payload damaged after its process id: the rule needs it."""
        if event_type.grows:
            return None
        try:
            return event_type.decode_pid(raw)
        except PayloadError:
            return None
