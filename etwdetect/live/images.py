"""Image events of a session as events, in fewer steps than `Decoder` needs: with `--events`, most are these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.sources.decode import kernel_process
from etwdetect.sources.decode.layout import ORDINARY, utf16

if TYPE_CHECKING:
    from etwdetect.live.callback import Fields

_LOAD_ID: Final = 5
_FIELDS: Final = ("ImageBase", "ImageSize", "ProcessID", "ImageCheckSum", "TimeDateStamp")
_LAYOUT: Final = kernel_process.EVENTS[_LOAD_ID].layouts[0]
_FIXED: Final = {pointer_size: _LAYOUT.reader(pointer_size, _FIELDS).struct for pointer_size in (4, 8)}
"""By pointer size, what reads these of version 0, of loads and unloads, which end before the name."""


def image_event(fields: Fields) -> ImageLoad | ImageUnload | None:
    """Return the event of an image event as Windows makes it; None where only `Decoder` can tell what it is."""
    provider, event_id, version, _, time, _, _, pointer_size, payload = fields
    fixed = _FIXED[pointer_size]
    name = payload[fixed.size :]
    if provider != KERNEL_PROCESS or version or not 0 < len(name) <= ORDINARY:
        return None
    base, size, pid, checksum, stamp = fixed.unpack_from(payload)
    image, _ = utf16(name)
    if event_id == _LOAD_ID:
        return tuple.__new__(ImageLoad, (time, pid, base, size, checksum, stamp, image, False))  # half the time
    return tuple.__new__(ImageUnload, (time, pid, base, size, image))
