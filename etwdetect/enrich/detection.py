"""A remote thread with all that is known around it: what every output format is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from etwdetect.rule import RemoteThread


@dataclass(frozen=True, slots=True)
class Detection:
    """One remote thread, who found it, and the images of both processes where they are known.

    *pointer_size* is that of the machine it happened on, 4 or 8 bytes.
    """

    thread: RemoteThread
    detector: Literal["etw", "driver"] = "etw"
    source_image: str | None = None
    target_image: str | None = None
    pointer_size: int = 8
