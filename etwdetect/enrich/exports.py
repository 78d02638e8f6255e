"""The functions that image files export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from etwdetect.enrich.modules import Module


class ImageFiles(Protocol):
    """Knows image files by the paths and builds of modules."""

    def function_at(self, path: str, module: Module, offset: int) -> tuple[str | None, str | None]:
        """Return the function that *module* exports from *offset*, and, where there is none, why."""
