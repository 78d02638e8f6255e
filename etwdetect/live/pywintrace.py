"""Loads pywintrace on the first live session.

pywintrace has the structures and functions of ETW, and classes around them that session.py and consumer.py use.
Those two modules say which of its defects they avoid.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from typing import Any, Final, NamedTuple
from uuid import UUID

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.windows import tracing

CONTROL_QUERY: Final = 0
CONTROL_STOP: Final = 1
CONTROL_FLUSH: Final = 3


class Pywintrace(NamedTuple):
    """The modules of pywintrace, which has no type annotations."""

    etw: Any
    evntrace: Any
    evntprov: Any
    guid: Any


@functools.cache
def load() -> Pywintrace:
    """Import pywintrace. Raises UnsupportedSystemError elsewhere than on 64-bit Windows."""
    tracing.advapi32()
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        raise UnsupportedSystemError("a live session requires a 64-bit Python on 64-bit Windows")
    # Importing it configures the root logger, which is left to the program: undo that.
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from etw import etw, evntprov, evntrace  # noqa: PLC0415
    from etw.GUID import GUID  # noqa: PLC0415

    root.handlers[:] = handlers
    root.setLevel(level)
    return Pywintrace(etw, evntrace, evntprov, GUID)


def guid(provider: bytes) -> Any:  # noqa: ANN401 (pywintrace's GUID)
    """Return the 16 bytes *provider* as a GUID."""
    return load().guid(f"{{{UUID(bytes_le=provider)}}}")
