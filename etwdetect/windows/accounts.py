"""The user of a process, and whether this process is elevated."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, wintypes
from typing import Final

from etwdetect.windows import processes
from etwdetect.windows.libraries import declare, load_library

_TOKEN_QUERY: Final = 0x0008
_TOKEN_USER: Final = 1
_LONGEST_TOKEN_USER: Final = 128


def user_sid(pid: int) -> bytes | None:
    """Return the SID of the user of *pid*: [MS-DTYP] 2.4.2.2, 8 bytes and 4 for each subauthority.

    None if the process has exited or may not be opened.
    """
    advapi32 = _advapi32()
    token = wintypes.HANDLE()
    with processes.opened(pid, processes.QUERY_LIMITED) as handle:
        if not advapi32.OpenProcessToken(handle, _TOKEN_QUERY, ctypes.byref(token)):
            return None
    try:
        # TOKEN_USER: a pointer to the SID, which follows in the same buffer, and attributes.
        answer = ctypes.create_string_buffer(_LONGEST_TOKEN_USER)
        size = wintypes.DWORD()
        if not advapi32.GetTokenInformation(token, _TOKEN_USER, answer, len(answer), ctypes.byref(size)):
            return None
        sid = ctypes.c_void_p.from_buffer(answer).value or 0
        start = sid - ctypes.addressof(answer)
        return answer.raw[start : start + 8 + 4 * answer.raw[start + 1]]
    finally:
        processes.kernel32().CloseHandle(token)


def is_elevated() -> bool:
    """Whether this process runs with the rights of an administrator."""
    return bool(load_library("shell32", "elevation").IsUserAnAdmin())


@functools.cache
def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32", "looking up the user of a process")
    handle, dword = wintypes.HANDLE, wintypes.DWORD
    declare(library, "OpenProcessToken", wintypes.BOOL, handle, dword, POINTER(handle))
    declare(
        library, "GetTokenInformation", wintypes.BOOL, handle, ctypes.c_int, ctypes.c_void_p, dword, POINTER(dword)
    )
    return library
