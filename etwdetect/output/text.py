"""One line for a remote thread, for people: the book's own line, and it with the names behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.output.escape import printable

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection
    from etwdetect.rule import RemoteThread


def classic_line(thread: RemoteThread, when: str) -> str:
    """Return the line that the driver's client in the book prints."""
    return (
        f"{when}: Remote Thread from PID: {thread.creator_pid} TID: {thread.creator_tid}"
        f" -> PID: {thread.pid} TID: {thread.tid}"
    )


def text_line(detection: Detection, when: str) -> str:
    """Return the classic line, and behind it the names that are known and what makes it less than certain."""
    line = classic_line(detection.thread, when)
    if detection.source.image or detection.target.image:
        line += f"  {_name(detection.source.image)} -> {_name(detection.target.image)}"
    if detection.thread.evidence:
        line += f"  [{', '.join(detection.thread.evidence)}]"
    return line


def _name(image: str | None) -> str:
    return printable(image.rpartition("\\")[2] or image) if image else "<unknown>"
