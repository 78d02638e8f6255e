"""Lets Windows end everything that this process started when it ends itself, in whatever way."""

from __future__ import annotations

import ctypes
import functools
from ctypes import wintypes
from typing import ClassVar, Final

from etwdetect.windows.libraries import SystemCallError, declare, last_error, load_library

_EXTENDED_LIMITS: Final = 9  # JobObjectExtendedLimitInformation
_KILL_ON_CLOSE: Final = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION, 144 bytes on x64."""

    _fields_: ClassVar = [
        ("times", ctypes.c_int64 * 2),
        ("LimitFlags", wintypes.DWORD),
        ("rest", ctypes.c_byte * 124),
    ]


@functools.cache
def end_children_with_us() -> int:
    """Put this process into a job that ends with it; its children are in it, those of a spoofed parent as well.

    Windows closes the job's only handle when this process ends, and then ends all others in it. Raises
    SystemCallError.
    """
    library = load_library("kernel32", "a job")
    handle, dword, flag, pointer = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.c_void_p
    declare(library, "CreateJobObjectW", handle, pointer, wintypes.LPCWSTR)
    declare(library, "SetInformationJobObject", flag, handle, ctypes.c_int, pointer, dword)
    declare(library, "AssignProcessToJobObject", flag, handle, handle)
    declare(library, "GetCurrentProcess", handle)
    job: int | None = library.CreateJobObjectW(None, None)
    limits = _Limits(LimitFlags=_KILL_ON_CLOSE)
    if (
        not job
        or not library.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        or not library.AssignProcessToJobObject(job, library.GetCurrentProcess())
    ):
        raise SystemCallError("putting the processes of the bench into a job", last_error())
    return job
