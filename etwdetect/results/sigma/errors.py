"""The errors of Sigma rules; one that is invalid is reported and skipped."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class SigmaError(EtwDetectError):
    """Sigma rules can't be used."""


class NoRuleLoadedError(SigmaError):
    """No rule was loaded: exit status 2."""


class UnsupportedRuleError(SigmaError):
    """A rule asks for what records don't have or can't be compared by."""
