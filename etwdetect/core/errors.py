"""The errors that etwdetect raises on purpose; each message is one sentence that a user can act on."""

from __future__ import annotations


class EtwDetectError(Exception):
    """Any error that etwdetect raises on purpose."""


class NotElevatedError(EtwDetectError):
    """Windows denied access: exit status 4."""

    def __init__(self, doing: str) -> None:
        """Say that *doing* something was denied, and what to do."""
        super().__init__(f"{doing}: access denied; run this in a terminal opened with 'Run as administrator'")


class UnsupportedSystemError(EtwDetectError):
    """This system can't do it, whoever asks: exit status 5."""


class NotATraceError(EtwDetectError):
    """An input could not be read as a trace at all: exit status 1."""

    def __init__(self, name: str, why: str, offset: int | None = None) -> None:
        """Say that the input called *name* is no trace, and *why*; *offset* is in bytes from its start."""
        self.name = name
        self.offset = offset
        place = "" if offset is None else f" at offset {offset:#x}"
        super().__init__(f"{name}: {why}{place}")


class OtherContentError(NotATraceError):
    """A file or an archive is sound, as far as one can see, but has nothing in it that is looked for."""


class PayloadError(EtwDetectError):
    """The payload of an event is too short for the layout of its version."""


class MissingExtraError(EtwDetectError):
    """Something needs a package that is not installed with etwdetect itself: exit status 5."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        """Say that *what* needs *package*, which the extra *extra* installs."""
        super().__init__(f"{what} needs {package}: pip install 'etwdetect[{extra}]'")


class RuleFileError(EtwDetectError):
    """A file of rules for kinds can't be used."""

    def __init__(self, name: str, what: str) -> None:
        """Say *what* is wrong with the file called *name*: which rule, and which field of it."""
        super().__init__(f"{name}: {what}")
