"""Who may use a file or folder."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, Final

from etwdetect.windows.libraries import SystemCallError, declare, last_error, load_library

if TYPE_CHECKING:
    from pathlib import Path

_SUBJECT: Final = "restricting access to a file"
_ADMINISTRATORS_ALONE: Final = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
"""Owned by the Administrators; all rights to them and SYSTEM, for all that is made in it too; none inherited."""
_REVISION: Final = 1
_OWNER_AND_ACCESS: Final = 0x8000_0005  # OWNER_, DACL_ and PROTECTED_DACL_SECURITY_INFORMATION


def leave_to_administrators(path: Path) -> None:
    """Leave the file or folder at *path* to SYSTEM and the Administrators. Raises SystemCallError."""
    library = _advapi32()
    descriptor = ctypes.c_void_p()
    made = library.ConvertStringSecurityDescriptorToSecurityDescriptorW(
        _ADMINISTRATORS_ALONE, _REVISION, ctypes.byref(descriptor), None
    )
    if not made or not library.SetFileSecurityW(str(path), _OWNER_AND_ACCESS, descriptor):
        raise SystemCallError(f"restricting access to {path}", last_error())
    # The descriptor, 100 bytes of the local heap, is left to the end of the process.


@functools.cache
def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32", _SUBJECT)
    flag, text, dword, pointer = wintypes.BOOL, wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p
    name = "ConvertStringSecurityDescriptorToSecurityDescriptorW"
    declare(library, name, flag, text, dword, POINTER(pointer), pointer)
    declare(library, "SetFileSecurityW", flag, text, dword, pointer)
    return library
