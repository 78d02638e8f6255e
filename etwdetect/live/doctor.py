"""Checks whether live sessions work on this machine, and says what to do if not.

What Windows tells about itself is checked first; then sessions of each kind are tested with events of our own.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.metadata
import itertools
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.kdetector import service
from etwdetect.live import ownership, sessions
from etwdetect.live import pywintrace as pw
from etwdetect.live.selftest import SelfTest
from etwdetect.live.settings import Extra, SessionConfig
from etwdetect.sources.decode.kernel_process import EVENTS
from etwdetect.windows import accounts, libraries, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.live.selftest import Outcome

_FEW_SESSIONS: Final = 4
_OLDEST_BUILD: Final = 9600  # Windows 8.1: the first with Python 3.11 and with filters for event ids
_FIRST_UNKNOWN_BUILD: Final = 29_000  # Windows 11 26H1 is 28,000
_KNOWN_PYWINTRACE: Final = "0.2.0"

_MEASURED_STARTS: Final = 200

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


class Doctor:
    """Runs all checks; afterwards `outcomes` and `log` have the details.

    With *stacks*, also a session with call stacks, whose thread starts are measured beside those without.
    """

    def __init__(self, *, stacks: bool = False) -> None:
        self._kinds = (*_KINDS, _WITH_STACKS) if stacks else _KINDS
        self._measured = {_WITH_STACKS, _WITHOUT_STACKS} if stacks else set()
        self.outcomes: list[Outcome] = []
        """What each kind of session showed."""
        self.log: list[str] = []
        """A line for each step of the tests, with the time since the first in seconds."""
        self._began = time.monotonic()

    def findings(self) -> Iterator[Finding]:
        """Yield a finding for each check, and the verdict as the last.

        Raises UnsupportedSystemError elsewhere than on Windows.
        """
        pw.load()
        found = []
        for finding in itertools.chain(map(_checked, _CHECKS), map(self._tested, self._kinds)):
            found.append(finding)
            yield finding
        yield _verdict(found)

    def note(self, line: str) -> None:
        """Add *line* to the log."""
        self.log.append(f"{time.monotonic() - self._began:8.3f} {line}")

    def _tested(self, config: SessionConfig) -> Finding:
        outcome = SelfTest(config, self.note, _MEASURED_STARTS if config in self._measured else 0).run()
        self.outcomes.append(outcome)
        if outcome.failure is not None:
            return Finding(outcome.what, CheckResult.FAILED, outcome.failure)
        words = [
            f"all that must come came, within {outcome.delay:,} ms",
            _settings(outcome),
            *self._stacks(outcome),
            *outcome.restrictions,
        ]
        result = CheckResult.WARNING if outcome.restrictions else CheckResult.OK
        return Finding(outcome.what, result, "; ".join(words))

    def _stacks(self, outcome: Outcome) -> Iterator[str]:
        """Yield how many thread starts got their stack, and what these cost beside a session without them."""
        if outcome.stacks is None:
            return
        yield outcome.stacks.words()
        without = next(each.microseconds for each in self.outcomes if each.what == "provider_session")
        beside = "" if without is None else f", {without:,.0f} without stacks"
        yield f"starting a thread took {outcome.microseconds:,.0f} microseconds{beside}"


def _checked(check: Callable[[], tuple[CheckResult, str]]) -> Finding:
    try:
        result, words = check()
    except EtwDetectError as error:
        result, words = CheckResult.FAILED, str(error)
    return Finding(check.__name__.strip("_"), result, words)


def _settings(outcome: Outcome) -> str:
    """Return what Windows made of the session's settings."""
    made = outcome.settings
    assert made is not None  # an outcome without a failure has them
    unit = "ms" if made.mode & Extra.MILLISECONDS.flag else "s"
    return (
        f"LogFileMode {made.mode:#010x}, FlushTimer {made.flush_timer} {unit}, {made.buffers} buffers"
        f" ({made.minimum_buffers} to {made.maximum_buffers}) of {made.buffer_kib} KiB"
    )


def _verdict(found: list[Finding]) -> Finding:
    """Return the one verdict: the first failure names the cause, and so do all that restrict a monitor."""
    failed = [finding for finding in found if finding.result is CheckResult.FAILED]
    warned = [finding for finding in found if finding.result is CheckResult.WARNING]
    if failed:
        first = failed[0]
        others = ", ".join(finding.what for finding in failed[1:])
        words = f"{first.what}: {first.words}" + (f" (also failed: {others})" if others else "")
        return Finding("verdict", CheckResult.FAILED, words)
    if warned:
        words = "; ".join(f"{finding.what}: {finding.words}" for finding in warned)
        return Finding("verdict", CheckResult.WARNING, f"live sessions work here, but {words}")
    return Finding("verdict", CheckResult.OK, "live sessions work here")


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
    used, most = len(sessions.names()), sessions.most()
    words = f"{used} of {most} are in use"
    if used >= most:
        return CheckResult.FAILED, f"{words}; stop one that 'logman query -ets' lists"
    return (CheckResult.WARNING if used > most - _FEW_SESSIONS else CheckResult.OK), words


def _orphaned() -> tuple[CheckResult, str]:
    left = list(ownership.orphaned(sessions.names()))
    if not left:
        return CheckResult.OK, "no sessions of crashed runs"
    return CheckResult.WARNING, f"left by crashed runs: {', '.join(left)}; the next monitor stops them"


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


_CHECKS: Final = (_windows, _pywintrace, _elevation, _sessions, _orphaned, _provider, _driver)
_KINDS: Final = tuple(
    SessionConfig(kernel_logger=kernel_logger, per_processor=per_processor)
    for kernel_logger in (False, True)
    for per_processor in (False, True)
)
_WITHOUT_STACKS, _WITH_STACKS = SessionConfig(), SessionConfig(stacks=True)
