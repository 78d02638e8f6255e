"""Events as data: one row an event, in JSON lines or Parquet, for a scan elsewhere or a whole fleet's.

Here is only what tells such a file from others; `trace` reads it.
"""

from __future__ import annotations

from typing import Final

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".parquet")
"""What files of events in a directory are called."""

PARQUET_MAGIC: Final = b"PAR1"
FIRST_BYTE: Final = b"{"
"""What a file of JSON lines begins with."""


def is_recorded(magic: bytes) -> bool:
    """Whether a file that begins with *magic* (4 bytes) may be one of events."""
    return magic == PARQUET_MAGIC or magic.startswith(FIRST_BYTE)
