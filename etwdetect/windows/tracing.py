"""The functions of event tracing that pywintrace lacks, and the version of Windows."""

from __future__ import annotations

import functools
import sys
from typing import Any

from etwdetect.windows.libraries import load_library, not_windows

_SUBJECT = "a live session"


@functools.cache
def advapi32() -> Any:  # noqa: ANN401 (ctypes creates its attributes on demand)
    """Return the library that pywintrace calls too, as an object with its own prototypes and last error."""
    return load_library("advapi32", _SUBJECT)


@functools.cache
def tdh() -> Any:  # noqa: ANN401
    """Return the Trace Data Helper library, which knows the manifests of providers."""
    return load_library("tdh", _SUBJECT)


def build() -> int:
    """Return the build number of this Windows."""
    if sys.platform == "win32":
        return sys.getwindowsversion().build
    raise not_windows(_SUBJECT)
