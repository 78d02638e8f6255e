"""Leaves command lines and user names out of what is written, where that is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ImageLoad, ImageUnload, ProcessRundown, ProcessStart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection, Process

_FOLDER: Final = re.compile(r'(?i)(\\Users\\)([^\\/:*?"<>|\r\n\0]+)')
_NARROW_FOLDER: Final = re.compile(rb'(?i)(\\Users\\)([^\\/:*?"<>|\r\n\0]+)')
_WIDE_FOLDER: Final = re.compile(rb'(?i)(\\\0U\0s\0e\0r\0s\0\\\0)((?:(?![\\/:*?"<>|\r\n\0]\0)..)+)', re.DOTALL)
"""The folder of a user's profile, in text, in ANSI and in UTF-16."""

_SID: Final = re.compile(rb"(\x01\x05\0{5}(?:\x05\x15|\x0c\x01)\0{3})(.{16})", re.DOTALL)
"""The SID of an account: S-1-5-21-… of a machine or a domain, S-1-12-1-… of a directory in the cloud."""

LEFT_OUT: Final = "left out on request"
"""The reason for a missing field."""

_FIELDS: Final = (
    ("CommandLine", "command_line"),
    ("ParentCommandLine", "parent_command_line"),
    ("User", "user"),
)


@dataclass(frozen=True)
class Privacy:
    """What is written: *command_lines*, and *users*: names, SIDs, and the folders of profiles in paths."""

    command_lines: bool = True
    users: bool = True

    @property
    def hides_nothing(self) -> bool:
        """Whether everything is written."""
        return self.command_lines and self.users

    def add(self, detection: Detection) -> Iterable[Detection]:
        """Yield *detection* without what is not written."""
        if self.hides_nothing:
            return (detection,)
        calls = replace(
            detection.calls, trace=self.text(detection.calls.trace), kernel=self.text(detection.calls.kernel)
        )
        start = replace(detection.start, module=self.text(detection.start.module))
        source, target = self._process(detection.source), self._process(detection.target)
        absent = [
            (side + field, LEFT_OUT)
            for side, old, new in (("Source", detection.source, source), ("Target", detection.target, target))
            for field, attribute in _FIELDS
            if getattr(old, attribute) != getattr(new, attribute) is None
        ]
        access = tuple((name, self.text(text) or "") for name, text in detection.prior_access)
        # What is in a field that is not known here can't be judged.
        saved = detection.saved and detection.saved._replace(unknown=())
        return (
            replace(
                detection,
                source=source,
                target=target,
                start=start,
                calls=calls,
                absent=(*detection.absent, *absent),
                prior_access=access,
                saved=saved,
            ),
        )

    def release(self, _now: int | None) -> Iterable[Detection]:
        """Return nothing: none is held."""
        return ()

    def event(self, event: Event) -> Event:
        """Return *event* without what is not written."""
        match event:
            case ProcessStart() | ProcessRundown():
                command_line = self.text(event.command_line) if self.command_lines else None
                sid = event.sid if self.users else None
                return event._replace(image=self.text(event.image), command_line=command_line, sid=sid)
            case ImageLoad() | ImageUnload():
                return event._replace(image=self.text(event.image))
        return event

    def text(self, text: str | None) -> str | None:
        """Return *text* with users' folders hidden, unless users are written."""
        return text if text is None or self.users else _FOLDER.sub(_hidden, text)

    def trace(self, data: bytes) -> bytes:
        """Return the bytes of an uncompressed trace with users' folders and SIDs hidden, nothing moved."""
        if self.users:
            return data
        data = _SID.sub(lambda found: found[1] + bytes(len(found[2])), data)
        data = _WIDE_FOLDER.sub(lambda found: found[1] + b"x\0" * (len(found[2]) // 2), data)
        return _NARROW_FOLDER.sub(lambda found: found[1] + b"x" * len(found[2]), data)

    def _process(self, process: Process) -> Process:
        return replace(
            process,
            image=self.text(process.image),
            command_line=self.text(process.command_line) if self.command_lines else None,
            parent_image=self.text(process.parent_image),
            parent_command_line=self.text(process.parent_command_line) if self.command_lines else None,
            user=process.user if self.users else None,
        )


def _hidden(found: re.Match[str]) -> str:
    return found[1] + "x" * len(found[2])
