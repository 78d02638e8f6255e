"""Whether live sessions can be had on this machine, and what to do where not."""

from __future__ import annotations

import ctypes
import enum
import importlib.metadata
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.kdetector import KDetectorError, service
from etwdetect.live import ownership, session
from etwdetect.live import pywintrace as pw
from etwdetect.live.errors import LiveError
from etwdetect.sources.decode.kernel_process import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_FEW_SESSIONS: Final = 4
_OLDEST_BUILD: Final = 9600  # Windows 8.1: the first that Python 3.11 runs on, and with a filter for event ids
_FIRST_UNKNOWN_BUILD: Final = 29_000  # Windows 11 26H1 is 28,000
_KNOWN_PYWINTRACE: Final = "0.2.0"

_DESCRIPTOR = struct.Struct("<HBBBBHQ")
"""EVENT_DESCRIPTOR: Id, Version, Channel, Level, Opcode, Task, Keyword."""


class Verdict(enum.Enum):
    """How well a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(NamedTuple):
    """What one check found, and what to do about it."""

    what: str
    verdict: Verdict
    words: str


def findings() -> Iterator[Finding]:
    """Yield a finding for each thing that matters. Raises UnsupportedSystemError elsewhere than on Windows."""
    pw.load()
    for check in (_windows, _pywintrace, _elevation, _sessions, _leaked, _start, _provider, _driver):
        what = check.__name__.strip("_")
        try:
            verdict, words = check()
        except (LiveError, KDetectorError) as error:
            verdict, words = Verdict.FAILED, str(error)
        yield Finding(what, verdict, words)


def _windows() -> tuple[Verdict, str]:
    build = pw.build()
    if build < _OLDEST_BUILD:
        return Verdict.FAILED, f"build {build}; live sessions need Windows 8.1 (build 9600) or later"
    if build >= _FIRST_UNKNOWN_BUILD:
        return (
            Verdict.WARNING,
            f"build {build}, newer than any known to this release; look for a newer one",
        )
    return Verdict.OK, f"build {build}"


def _pywintrace() -> tuple[Verdict, str]:
    found = importlib.metadata.version("pywintrace")
    if found == _KNOWN_PYWINTRACE:
        return Verdict.OK, found
    return Verdict.WARNING, f"{found}; this release was tested with {_KNOWN_PYWINTRACE} alone"


def _elevation() -> tuple[Verdict, str]:
    if sys.platform == "win32" and ctypes.windll.shell32.IsUserAnAdmin():
        return Verdict.OK, "an administrator"
    words = "not elevated: members of Performance Log Users may start sessions, others need 'Run as administrator'"
    return Verdict.WARNING, words


def _sessions() -> tuple[Verdict, str]:
    used, most = len(session.names()), session.most()
    words = f"{used} of {most} are in use"
    if used >= most:
        return Verdict.FAILED, f"{words}; stop one of those that 'logman query -ets' lists"
    return (Verdict.WARNING if used > most - _FEW_SESSIONS else Verdict.OK), words


def _leaked() -> tuple[Verdict, str]:
    left = list(ownership.leaked(session.names()))
    if not left:
        return Verdict.OK, "no session of a crashed run"
    return Verdict.WARNING, f"left behind by crashed runs: {', '.join(left)}; the next monitor stops them"


def _start() -> tuple[Verdict, str]:
    """Try it: whether a session can be had depends on more than can be asked."""
    tried = session.Session(ownership.name_of(ownership.ourselves("doctor")), session.Plan())
    tried.start()
    tried.stop()
    return Verdict.OK, "a session with the provider was started, and stopped"


def _provider() -> tuple[Verdict, str]:
    versions = _provider_versions()
    name = "Microsoft-Windows-Kernel-Process"
    if not versions:
        return Verdict.FAILED, f"{name} is not registered; use 'etwdetect monitor --kernel-logger'"
    told = ", ".join(f"{EVENTS[event].kind} version {versions[event]}" for event in sorted(versions))
    unknown = [EVENTS[event].kind for event, version in versions.items() if not EVENTS[event].knows(version)]
    if unknown:
        return Verdict.WARNING, f"{told}; of {', '.join(unknown)} only what every version has is read"
    return Verdict.OK, told


def _provider_versions() -> dict[int, int]:
    """Return the newest version of each event that is read, as the provider's manifest has it."""
    library = pw.tdh()
    size = ctypes.c_ulong(0)
    guid = pw.guid(KERNEL_PROCESS)
    status = pw.ERROR_INSUFFICIENT_BUFFER
    while status == pw.ERROR_INSUFFICIENT_BUFFER:
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


def _driver() -> tuple[Verdict, str]:
    state = service.state()
    if state is None:
        return Verdict.OK, "KDetector is not installed, and not needed"
    return Verdict.OK, f"KDetector is {state.name.lower().replace('_', ' ')}"
