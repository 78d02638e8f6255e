"""The reasons why something is not known, where rules look at the reason too."""

from __future__ import annotations

from typing import Final

OUTSIDE: Final = "the address lies in none of the target's images"
NO_EXPORT: Final = "no function is exported from this address"
