"""What can be wrong with Sigma rules as a whole; a fault in one of them is told, and does not end anything."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class SigmaError(EtwDetectError):
    """Sigma rules can't be used."""


class NoRuleLoadedError(SigmaError):
    """There is no rule left to ask: exit status 2."""


class UnsupportedRuleError(SigmaError):
    """A rule asks for what can't be told of a record, and would never be true."""
