"""The errors that etwdetect raises on purpose; each message is one sentence that a user can act on."""

from __future__ import annotations


class EtwDetectError(Exception):
    """Any error that etwdetect raises on purpose."""


class NotElevatedError(EtwDetectError):
    """Windows denied access: exit status 4."""

    def __init__(self, action: str) -> None:
        """Say that *action* was denied, and what to do."""
        super().__init__(f"{action}: access denied; run this in a terminal opened with 'Run as administrator'")


class UnsupportedSystemError(EtwDetectError):
    """This system does not support what was requested: exit status 5."""


class NotATraceError(EtwDetectError):
    """An input could not be read as a trace at all: exit status 1."""

    def __init__(self, name: str, why: str, offset: int | None = None) -> None:
        """Say *why* the input *name* is not a trace; *offset* is in bytes from its start."""
        self.name = name
        self.why = why
        self.offset = offset
        place = "" if offset is None else f" at offset {offset:#x}"
        super().__init__(f"{name}: {why}{place}")


class OtherContentError(NotATraceError):
    """A file or an archive seems valid, but contains no input."""


class PayloadError(EtwDetectError):
    """The payload of an event is too short for the layout of its version."""


class MissingExtraError(EtwDetectError):
    """A feature needs a package of an extra that is not installed: exit status 5."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        """Say that *what* needs *package* of the extra *extra*."""
        super().__init__(f"{what} needs {package}: pip install 'etwdetect[{extra}]'")


class RuleFileError(EtwDetectError):
    """A file of rules for kinds is invalid or cannot be read."""

    def __init__(self, name: str, what: str) -> None:
        """Say *what* is wrong with the file called *name*: which rule, and which field of it."""
        super().__init__(f"{name}: {what}")
