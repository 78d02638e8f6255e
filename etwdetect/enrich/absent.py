"""The reasons for missing fields that rules refer to."""

from __future__ import annotations

from typing import Final

OUTSIDE: Final = "the address lies in none of the target's images"
NO_EXPORT: Final = "no function is exported from this address"
