"""From the data of an event of Sysmon to a record. What the data says is hostile: it may come from anywhere."""

from __future__ import annotations

import re
import reprlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.core.sysmon import (
    SysmonAccess,
    SysmonExit,
    SysmonImage,
    SysmonNotice,
    SysmonProcess,
    SysmonRecord,
    SysmonStart,
    SysmonThread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from etwdetect.sources.sysmon.shapes import WindowsEvent

_MISSING: Final = ("", "-", None)
_UNKNOWN_IMAGE: Final = "<unknown process>"
NO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_MAX_ID: Final = (1 << 32) - 1
_MAX_ADDRESS: Final = (1 << 64) - 1
_ADDRESS: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,16})")
_ADDRESS_32: Final = 8
"""How many digits an address of a 32-bit system has; that of a 64-bit one has 16."""


def record_of(event: WindowsEvent) -> SysmonRecord | None:
    """Return the record of an event of Sysmon; None for kinds of events that nothing is taken from.

    Raises ValueError, with what is wrong, where the data is not what Sysmon writes.
    """
    event_id = _number("EventID", event.event_id, _MAX_ID)
    make = None if event_id is None else _MAKERS.get(event_id)
    if event_id is None or make is None:
        return None
    host = event.host if isinstance(event.host, str) and event.host else None
    try:
        return make(event_id, host, event.data)
    except KeyError as error:
        raise ValueError(f"event {event_id} has no {error.args[0]}") from None


def _thread(_event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonThread:
    address, pointer_size = _address(data.get("StartAddress"))
    return SysmonThread(
        _time(data),
        host,
        _known_process(data, "Source"),
        _known_process(data, "Target"),
        _required("NewThreadId", data),
        address,
        pointer_size,
        _text(data.get("StartModule"), "StartModule"),
        _text(data.get("StartFunction"), "StartFunction"),
        _text(data.get("RuleName"), "RuleName"),
    )


def _access(_event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonAccess:
    source, target = _process(data, "Source"), _process(data, "Target")
    mask, trace = (_text(data.get(name), name) for name in ("GrantedAccess", "CallTrace"))
    return SysmonAccess(_time(data), host, source, target, mask, trace)


def _start(_event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonStart:
    return SysmonStart(
        _time(data),
        host,
        _process(data, ""),
        _text(data.get("CommandLine"), "CommandLine"),
        _number("TerminalSessionId", data.get("TerminalSessionId"), _MAX_ID),
        _process(data, "Parent"),
        _text(data.get("ParentCommandLine"), "ParentCommandLine"),
    )


def _exit(_event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonExit:
    return SysmonExit(_time(data), host, _process(data, ""))


def _image(_event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonImage:
    return SysmonImage(_time(data), host, _process(data, ""), _text(data.get("ImageLoaded"), "ImageLoaded"))


def _notice(event_id: int, host: str | None, data: Mapping[str, Any]) -> SysmonNotice:
    names = ("State", "Configuration", "ConfigurationFileHash", "ID", "Description")
    told = [text for text in (_text(data.get(name), name) for name in names) if text]
    return SysmonNotice(_time(data), host, event_id, ", ".join(told))


_MAKERS: Final[dict[int, Callable[[int, str | None, Mapping[str, Any]], SysmonRecord]]] = {
    1: _start,
    4: _notice,
    5: _exit,
    7: _image,
    8: _thread,
    10: _access,
    16: _notice,
    255: _notice,
}

EVENT_IDS: Final = frozenset(_MAKERS)
"""The ids of the events that records are made of."""


def _text(value: object, name: str) -> str | None:
    if value in _MISSING:
        return None
    if not isinstance(value, str | int | float):
        raise ValueError(f"{name} is {reprlib.repr(value)}, must be text")  # noqa: TRY004 (a value of json)
    return str(value)


def _time(data: Mapping[str, Any]) -> int:
    text = data["UtcTime"]
    if not isinstance(text, str):
        raise ValueError(f"UtcTime is {reprlib.repr(text)}, must be a date and a time")  # noqa: TRY004
    return time_of(text)


@lru_cache(maxsize=1024)  # events come in bursts
def time_of(text: str) -> int:
    """Return the FILETIME of *text*, a UtcTime. Raises ValueError where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"UtcTime is {reprlib.repr(text)}, must be a date and a time") from error
    try:
        moment = filetime.from_datetime(time.replace(tzinfo=UTC) if time.tzinfo is None else time)
    except OverflowError as error:
        raise ValueError(f"UtcTime is {text}, which is out of range") from error
    if moment < 0:
        raise ValueError(f"UtcTime is {text}, which is before 1601")
    return moment


def _number(name: str, value: object, most: int) -> int | None:
    """Return a number that collectors write as one or as text; None where it is missing."""
    if value in _MISSING:
        return None
    number = -1
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdigit() and len(text) < len(str(_MAX_ADDRESS)):
            number = int(text)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        number = int(value)
    if not 0 <= number <= most:
        raise ValueError(f"{name} is {reprlib.repr(value)}, must be a number from 0 to {most:,}")
    return number


def _required(name: str, data: Mapping[str, Any]) -> int:
    number = _number(name, data[name], _MAX_ID)
    if number is None:
        raise KeyError(name)
    return number


def _address(value: object) -> tuple[int | None, int]:
    """Return an address, and the pointer size in bytes that its digits tell."""
    if value in _MISSING:
        return None, 8
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ADDRESS:
        return value, 8
    digits = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if digits is None:
        raise ValueError(f"StartAddress is {reprlib.repr(value)}, must be 0x and up to 16 hexadecimal digits")
    return int(digits[1], 16), 4 if len(digits[1]) == _ADDRESS_32 else 8


def _known_process(data: Mapping[str, Any], side: str) -> SysmonProcess:
    process = _process(data, side)
    if process.pid is None:
        raise KeyError(f"{side}ProcessId")
    return process


def _process(data: Mapping[str, Any], side: str) -> SysmonProcess:
    """Return the process of *side*; event 10 writes ProcessGUID."""
    pid, guid, capitals, image, user = _NAMES[side]
    try:
        return _made(side, data.get(pid), data.get(guid, data.get(capitals)), data.get(image), data.get(user))
    except TypeError:  # a list or an object, which can't be remembered
        return _made.__wrapped__(side, data.get(pid), data.get(guid), data.get(image), data.get(user))


_NAMES: Final = {
    side: tuple(f"{side}{name}" for name in ("ProcessId", "ProcessGuid", "ProcessGUID", "Image", "User"))
    for side in ("Source", "Target", "Parent", "")
}


@lru_cache(maxsize=4096)  # most events are of few processes; it keeps every text once, too
def _made(side: str, pid: object, guid: object, image: object, user: object) -> SysmonProcess:
    known_guid = (_text(guid, f"{side}ProcessGuid") or "").strip("{}").upper()
    known_image = _text(image, f"{side}Image")
    return SysmonProcess(
        _number(f"{side}ProcessId", pid, _MAX_ID),
        None if known_guid == NO_GUID else known_guid or None,
        None if known_image == _UNKNOWN_IMAGE else known_image,
        _text(user, f"{side}User"),
    )
