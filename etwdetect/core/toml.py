"""Parses TOML that may be hostile: tomllib takes quadratic time for some texts, and stack for nesting."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 256 << 10
"""The largest file that is read."""

_MOST_DOTS: Final = 500
"""In a line: tomllib takes quadratic time in the number of parts of a key. With both limits it takes seconds."""


def read(path: Path) -> str:
    """Return the text of the file at *path*; OSError, or ValueError as `decode`."""
    return decode(read_file(path, MOST_BYTES + 1))


def decode(data: bytes) -> str:
    """Return the text of a file; ValueError, with what is wrong, where it is too large or not UTF-8."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}") from error


def parse(text: str) -> dict[str, Any]:
    """Return the document in *text*; ValueError, with what is wrong, where it is none."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS:
            raise ValueError(f"line {number:,} has more than {_MOST_DOTS} dots: split the line")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a TOMLDecodeError, or Python's limit on the digits of a number
        raise ValueError(f"is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ValueError("lists are nested too deeply") from error
