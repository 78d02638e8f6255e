"""The inputs of a report, and what is to be said of each."""

from __future__ import annotations

from dataclasses import dataclass

from etwdetect.results.report import words


@dataclass(frozen=True, slots=True)
class Origin:
    """One input, or several that were joined.

    *error* says why nothing of it could be read; *warnings* what of it is missing or could not be read, *notes*
    what else is worth knowing. The counts and the *span* (the FILETIMEs of its first and last event) are those
    of a trace, and None for saved records.
    """

    name: str
    error: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remote: int | None = None
    thread_starts: int | None = None
    events: int | None = None
    span: tuple[int, int] | None = None

    @property
    def outcome(self) -> str:
        """How the reading went, in words."""
        if self.error is not None:
            return "not read"
        return "read, see above" if self.warnings else "read"

    @property
    def first(self) -> str | None:
        """The time of its first event."""
        return self.span and words.moment(self.span[0])

    @property
    def last(self) -> str | None:
        """The time of its last event."""
        return self.span and words.moment(self.span[1])
