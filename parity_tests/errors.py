"""The errors of parity runs; each message is a sentence that a user can act on."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError, UnsupportedSystemError


class ScenarioError(EtwDetectError):
    """A scenario file is not valid; the message has the file, the step and the problem."""

    def __init__(self, what: str, step: str = "", name: str = "") -> None:
        self.what = what
        self.step = step
        self.name = name
        super().__init__(": ".join(part for part in (name, step, what) if part))


class NoSuchScenarioError(EtwDetectError):
    """A named scenario, or the folder of scenarios, does not exist: exit status 2."""


class BenchUnavailableError(UnsupportedSystemError):
    """A bench cannot run on this machine; the message says what is missing: exit status 5."""


class PerformanceError(EtwDetectError):
    """A step could not be performed with real processes; the message says what failed and in which process."""


class NotepadError(PerformanceError):
    """Notepad ended by itself: on Windows 11 it hands over to the Notepad from the Store, and its process ends."""


class CdbError(PerformanceError):
    """cdb did not do what it was told; the message has its last output."""
