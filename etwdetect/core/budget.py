"""What one command may take in all, over all its inputs: the bounds of single inputs stand where they are read.

A program that imports etwdetect has no budget unless it sets one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Resource(NamedTuple):
    """Something that is counted: in which words, how much a command may take, and what happens to the rest."""

    words: str
    default: int
    rest: str


RESOURCES: Final = {
    "unpacked": _Resource("bytes unpacked", 64 << 30, "read"),
    "members": _Resource("files in directories and archives", 1_000_000, "read"),
    "rows": _Resource("rows of events and saved results", 100_000_000, "read"),
    "output": _Resource("characters written", 512 << 20, "written"),
}
"""By the name that `--limit` takes. Honest inputs stay far below."""


class Budget:
    """Counts what a command takes; *limits* replace the defaults, by name."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = {name: limits.get(name, resource.default) for name, resource in RESOURCES.items()}
        self._left = dict(self._limits)

    def left(self, name: str) -> int:
        """Return how much of *name* may still be taken."""
        return self._left[name]

    def take(self, name: str, count: int = 1) -> bool:
        """Take *count* of *name* if there is as much left; return whether there was."""
        left = self._left[name] - count
        if left < 0:
            return False
        self._left[name] = left
        return True

    def sentence(self, name: str) -> str:
        """Return what is told where the limit of *name* is met."""
        resource = RESOURCES[name]
        return (
            f"the limit of {self._limits[name]:,} {resource.words} is met: the rest is not {resource.rest};"
            f" --limit {name}=NUMBER changes it"
        )


_UNLIMITED: Final = Budget(dict.fromkeys(RESOURCES, 1 << 100))

current: Final = ContextVar("budget", default=_UNLIMITED)
"""The budget of the command that runs."""
