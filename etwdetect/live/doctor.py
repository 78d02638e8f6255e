"""Checks whether live sessions work on this machine, and says what to do if not."""

from __future__ import annotations

import ctypes
import enum
import importlib.metadata
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.kdetector import service
from etwdetect.live import ownership, session
from etwdetect.live import pywintrace as pw
from etwdetect.sources.decode.kernel_process import EVENTS
from etwdetect.windows import accounts, libraries, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

_FEW_SESSIONS: Final = 4
_OLDEST_BUILD: Final = 9600  # Windows 8.1: the first with Python 3.11 and with filters for event ids
_FIRST_UNKNOWN_BUILD: Final = 29_000  # Windows 11 26H1 is 28,000
_KNOWN_PYWINTRACE: Final = "0.2.0"

_DESCRIPTOR = struct.Struct("<HBBBBHQ")
"""EVENT_DESCRIPTOR: Id, Version, Channel, Level, Opcode, Task, Keyword."""


class CheckResult(enum.Enum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(NamedTuple):
    """The result of the check *what*, and in *words* what was found and what to do."""

    what: str
    result: CheckResult
    words: str


def findings() -> Iterator[Finding]:
    """Run all checks; yield a finding for each. Raises UnsupportedSystemError elsewhere than on Windows."""
    pw.load()
    for check in (_windows, _pywintrace, _elevation, _sessions, _orphaned, _start, _provider, _driver):
        what = check.__name__.strip("_")
        try:
            result, words = check()
        except EtwDetectError as error:
            result, words = CheckResult.FAILED, str(error)
        yield Finding(what, result, words)


def _windows() -> tuple[CheckResult, str]:
    build = tracing.build()
    if build < _OLDEST_BUILD:
        return CheckResult.FAILED, f"build {build}; live sessions require Windows 8.1 (build 9600) or later"
    if build >= _FIRST_UNKNOWN_BUILD:
        return (
            CheckResult.WARNING,
            f"build {build} is newer than this release knows; check for a newer release",
        )
    return CheckResult.OK, f"build {build}"


def _pywintrace() -> tuple[CheckResult, str]:
    found = importlib.metadata.version("pywintrace")
    if found == _KNOWN_PYWINTRACE:
        return CheckResult.OK, found
    return CheckResult.WARNING, f"{found}; this release was tested with {_KNOWN_PYWINTRACE} only"


def _elevation() -> tuple[CheckResult, str]:
    if accounts.is_elevated():
        return CheckResult.OK, "elevated"
    words = "not elevated: members of Performance Log Users may start sessions, others need 'Run as administrator'"
    return CheckResult.WARNING, words


def _sessions() -> tuple[CheckResult, str]:
    used, most = len(session.names()), session.most()
    words = f"{used} of {most} are in use"
    if used >= most:
        return CheckResult.FAILED, f"{words}; stop one that 'logman query -ets' lists"
    return (CheckResult.WARNING if used > most - _FEW_SESSIONS else CheckResult.OK), words


def _orphaned() -> tuple[CheckResult, str]:
    left = list(ownership.orphaned(session.names()))
    if not left:
        return CheckResult.OK, "no sessions of crashed runs"
    return CheckResult.WARNING, f"left by crashed runs: {', '.join(left)}; the next monitor stops them"


def _start() -> tuple[CheckResult, str]:
    """Start and stop a session: whether that works depends on more than can be queried."""
    probe = session.Session(ownership.name_of(ownership.this_process("doctor")), session.SessionConfig())
    probe.start()
    probe.stop()
    return CheckResult.OK, "a session with the provider was started and stopped"


def _provider() -> tuple[CheckResult, str]:
    versions = _provider_versions()
    name = "Microsoft-Windows-Kernel-Process"
    if not versions:
        return CheckResult.FAILED, f"{name} is not registered; use 'etwdetect monitor --kernel-logger'"
    newest = ", ".join(f"{EVENTS[event].kind} version {versions[event]}" for event in sorted(versions))
    unknown = [EVENTS[event].kind for event, version in versions.items() if not EVENTS[event].knows(version)]
    if unknown:
        return (
            CheckResult.WARNING,
            f"{newest}; unknown versions of {', '.join(unknown)}: only the fields common to all are read",
        )
    return CheckResult.OK, newest


def _provider_versions() -> dict[int, int]:
    """Return the newest version of each event in use, from the provider's manifest."""
    library = tracing.tdh()
    size = ctypes.c_ulong(0)
    guid = pw.guid(KERNEL_PROCESS)
    status = libraries.ERROR_INSUFFICIENT_BUFFER
    while status == libraries.ERROR_INSUFFICIENT_BUFFER:
        answer = ctypes.create_string_buffer(size.value or 1)
        status = library.TdhEnumerateManifestProviderEvents(ctypes.byref(guid), answer, ctypes.byref(size))
    if status:
        return {}
    # PROVIDER_EVENT_INFO: NumberOfEvents, Reserved, then the descriptors.
    (count,) = struct.unpack_from("<I", answer)
    versions: dict[int, int] = {}
    for number in range(count):
        event, version, *_ = _DESCRIPTOR.unpack_from(answer, 8 + number * _DESCRIPTOR.size)
        if event in EVENTS:
            versions[event] = max(version, versions.get(event, 0))
    return versions


def _driver() -> tuple[CheckResult, str]:
    state = service.state()
    if state is None:
        return CheckResult.OK, "KDetector is not installed; it is not required"
    return CheckResult.OK, f"KDetector is {state.name.lower().replace('_', ' ')}"
