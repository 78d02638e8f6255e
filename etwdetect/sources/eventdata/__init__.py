"""Events as data: one row per event, in JSON lines or Parquet, for a scan elsewhere or for a whole fleet.

This module only recognises such files; `trace` reads them.
"""

from __future__ import annotations

from typing import Final

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".parquet")
"""How the names of files of events end."""

PARQUET_MAGIC: Final = b"PAR1"
FIRST_BYTE: Final = b"{"
"""The first byte of a file of JSON lines."""


def is_event_data(magic: bytes) -> bool:
    """Whether a file that begins with *magic* (4 bytes) may be one of events."""
    return magic == PARQUET_MAGIC or magic.startswith(FIRST_BYTE)
