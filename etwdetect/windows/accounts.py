"""The user of a process, and whether this process is elevated."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, ClassVar, Final

from etwdetect.windows import processes
from etwdetect.windows.libraries import ERROR_NOT_ALL_ASSIGNED, declare, last_error, load_library, require_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILE_PRIVILEGE: Final = "SeSystemProfilePrivilege"
"""What somebody who is no administrator needs for a system logger session; administrators have it disabled."""

_TOKEN_QUERY: Final = 0x0008
_TOKEN_ADJUST_PRIVILEGES: Final = 0x0020
_ENABLED: Final = 0x2  # SE_PRIVILEGE_ENABLED
_TOKEN_USER: Final = 1
_TOKEN_ELEVATION: Final = 20
_LONGEST_TOKEN_USER: Final = 128


class _OnePrivilege(ctypes.Structure):
    """TOKEN_PRIVILEGES of winnt.h with one privilege, 16 bytes."""

    _fields_: ClassVar = [
        ("PrivilegeCount", wintypes.DWORD),
        ("Low", wintypes.DWORD),
        ("High", wintypes.LONG),
        ("Attributes", wintypes.DWORD),
    ]


def user_sid(pid: int) -> bytes | None:
    """Return the SID of the user of *pid*: [MS-DTYP] 2.4.2.2, 8 bytes and 4 for each subauthority.

    None if the process has exited or may not be opened.
    """
    advapi32 = _advapi32()
    with processes.opened(pid, processes.QUERY_LIMITED) as process, _token(process, _TOKEN_QUERY) as token:
        # TOKEN_USER: a pointer to the SID, which follows in the same buffer, and attributes.
        answer = ctypes.create_string_buffer(_LONGEST_TOKEN_USER)
        size = wintypes.DWORD()
        if not advapi32.GetTokenInformation(token, _TOKEN_USER, answer, len(answer), ctypes.byref(size)):
            return None
        sid = ctypes.c_void_p.from_buffer(answer).value or 0
        start = sid - ctypes.addressof(answer)
        return answer.raw[start : start + 8 + 4 * answer.raw[start + 1]]


def is_elevated() -> bool:
    """Whether this process runs with the rights of an administrator."""
    require_windows("elevation")
    with _token(processes.kernel32().GetCurrentProcess(), _TOKEN_QUERY) as token:
        elevated, size = wintypes.DWORD(), wintypes.DWORD()
        _advapi32().GetTokenInformation(
            token, _TOKEN_ELEVATION, ctypes.byref(elevated), ctypes.sizeof(elevated), ctypes.byref(size)
        )
        return bool(elevated.value)


def enable_privilege(name: str) -> bool:
    """Enable the privilege *name* in this process; return whether it holds that privilege."""
    advapi32 = _advapi32()
    with _token(processes.kernel32().GetCurrentProcess(), _TOKEN_QUERY | _TOKEN_ADJUST_PRIVILEGES) as token:
        wanted = _OnePrivilege(1, 0, 0, _ENABLED)
        luid = ctypes.byref(wanted, _OnePrivilege.Low.offset)
        found = advapi32.LookupPrivilegeValueW(None, name, luid)
        # Success where the privilege is not held: only the last error tells.
        done = found and advapi32.AdjustTokenPrivileges(token, False, ctypes.byref(wanted), 0, None, None)  # noqa: FBT003
        return bool(done) and last_error() != ERROR_NOT_ALL_ASSIGNED


@contextlib.contextmanager
def _token(process: int | None, access: int) -> Iterator[wintypes.HANDLE]:
    """Open the token of a process by its handle; a token that may not be opened is 0, which each call refuses."""
    token = wintypes.HANDLE()
    is_open = _advapi32().OpenProcessToken(process, access, ctypes.byref(token))
    try:
        yield token
    finally:
        if is_open:
            processes.kernel32().CloseHandle(token)


@functools.cache
def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32", "looking up the user of a process")
    handle, dword = wintypes.HANDLE, wintypes.DWORD
    declare(library, "OpenProcessToken", wintypes.BOOL, handle, dword, POINTER(handle))
    declare(
        library, "GetTokenInformation", wintypes.BOOL, handle, ctypes.c_int, ctypes.c_void_p, dword, POINTER(dword)
    )
    pointer = ctypes.c_void_p
    declare(library, "LookupPrivilegeValueW", wintypes.BOOL, wintypes.LPCWSTR, wintypes.LPCWSTR, pointer)
    declare(
        library, "AdjustTokenPrivileges", wintypes.BOOL, handle, wintypes.BOOL, pointer, dword, pointer, pointer
    )
    return library
