"""What goes wrong around parity runs; each message is a sentence that a user can act on."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError, UnsupportedSystemError


class ScenarioError(EtwDetectError):
    """A scenario file is not as it should be: which file, which step, and what is wrong."""

    def __init__(self, what: str, step: str = "", name: str = "") -> None:
        self.what = what
        self.step = step
        self.name = name
        super().__init__(": ".join(part for part in (name, step, what) if part))


class NoSuchScenarioError(EtwDetectError):
    """A scenario was asked for that is not there, or the folder of scenarios is missing: exit status 2."""


class BenchUnavailableError(UnsupportedSystemError):
    """A bench cannot run on this machine, and what to do about it: exit status 5."""


class PerformanceError(EtwDetectError):
    """A step could not be performed for real: what failed, and in which process."""


class CdbError(PerformanceError):
    """cdb, which plays a debugger, did not do what a debugger does: what it said last."""
