"""What Windows says about a running process: its program, its session and its modules.

A process that has exited, or that may not be opened, yields nothing; no error is raised. Nothing here creates a
thread in another process, as the usual way to list modules (Toolhelp) does.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from etwdetect.windows.libraries import declare, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERY_LIMITED: Final = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION

_QUERY: Final = 0x0400  # PROCESS_QUERY_INFORMATION
_READ: Final = 0x0010  # PROCESS_VM_READ
_NATIVE_NAME: Final = 1  # PROCESS_NAME_NATIVE
_ALL_MODULES: Final = 3  # LIST_MODULES_ALL
_MOST_MODULES: Final = 4096
_LONGEST_PATH: Final = 32_768
_PAGE: Final = 4096


class _ModuleInfo(ctypes.Structure):
    """MODULEINFO of psapi.h, 24 bytes on x64."""

    _fields_: ClassVar = [
        ("lpBaseOfDll", ctypes.c_void_p),
        ("SizeOfImage", wintypes.DWORD),
        ("EntryPoint", ctypes.c_void_p),
    ]


class MappedModule(NamedTuple):
    """A module of a process; *size* is in bytes, *time_date_stamp* and *checksum* are from its PE header."""

    base: int
    size: int
    path: str | None
    time_date_stamp: int | None
    checksum: int | None


def image_path(pid: int) -> str | None:
    r"""Return the path of the program of *pid*, in the form used in events: ``\\Device\\HarddiskVolume3\\…``."""
    name = ctypes.create_unicode_buffer(_LONGEST_PATH)
    size = wintypes.DWORD(len(name))
    with opened(pid, QUERY_LIMITED) as handle:
        done = kernel32().QueryFullProcessImageNameW(handle, _NATIVE_NAME, name, ctypes.byref(size))
    return name.value or None if done else None


def session_id(pid: int) -> int | None:
    """Return the id of the terminal session of *pid*."""
    session = wintypes.DWORD()
    return session.value if kernel32().ProcessIdToSessionId(pid, ctypes.byref(session)) else None


def modules(pid: int) -> Iterator[MappedModule]:
    """Yield the modules mapped into the process *pid* now."""
    library = kernel32()
    with opened(pid, _QUERY | _READ) as handle:
        bases = (wintypes.HMODULE * _MOST_MODULES)()
        size = wintypes.DWORD()
        if not library.K32EnumProcessModulesEx(
            handle, bases, ctypes.sizeof(bases), ctypes.byref(size), _ALL_MODULES
        ):
            return
        name = ctypes.create_unicode_buffer(_LONGEST_PATH)
        for base in bases[: size.value // ctypes.sizeof(wintypes.HMODULE)]:
            info = _ModuleInfo()
            if not library.K32GetModuleInformation(handle, base, ctypes.byref(info), ctypes.sizeof(info)):
                continue
            length = library.K32GetMappedFileNameW(handle, info.lpBaseOfDll, name, len(name))
            stamp, checksum = _build(handle, info.lpBaseOfDll)
            yield MappedModule(base or 0, info.SizeOfImage, name.value if length else None, stamp, checksum)


def _build(handle: int | None, base: int | None) -> tuple[int | None, int | None]:
    """Return the time stamp and the checksum in the PE header of the image mapped at *base*."""
    header = ctypes.create_string_buffer(_PAGE)
    if not kernel32().ReadProcessMemory(handle, base, header, len(header), None):
        return None, None
    # IMAGE_DOS_HEADER.e_lfanew at 60; from there the stamp at 8 and, in both optional headers, the checksum at 88.
    (at,) = struct.unpack_from("<I", header, 60)
    if at + 92 > len(header) or header.raw[at : at + 4] != b"PE\0\0":
        return None, None
    stamp, checksum = struct.unpack_from("<I76xI", header, at + 8)
    return stamp, checksum or None


@contextlib.contextmanager
def opened(pid: int, access: int) -> Iterator[int | None]:
    """Open the process *pid*; yield None, which every function refuses, if that is denied."""
    handle = kernel32().OpenProcess(access, False, pid)  # noqa: FBT003 (bInheritHandle)
    try:
        yield handle
    finally:
        if handle:
            kernel32().CloseHandle(handle)


@functools.cache
def kernel32() -> ctypes.CDLL:
    """Return kernel32.dll with the prototypes of its functions for processes."""
    library = load_library("kernel32", "looking up a process")
    handle, dword, pointer, flag = wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p, wintypes.BOOL
    declare(library, "OpenProcess", handle, dword, flag, dword)
    declare(library, "CloseHandle", flag, handle)
    declare(library, "GetCurrentProcess", handle)
    declare(library, "ReadProcessMemory", flag, handle, pointer, pointer, ctypes.c_size_t, pointer)
    declare(library, "ProcessIdToSessionId", flag, dword, POINTER(dword))
    declare(library, "QueryFullProcessImageNameW", flag, handle, dword, wintypes.LPWSTR, POINTER(dword))
    declare(library, "K32EnumProcessModulesEx", flag, handle, pointer, dword, POINTER(dword), dword)
    declare(library, "K32GetModuleInformation", flag, handle, wintypes.HMODULE, POINTER(_ModuleInfo), dword)
    declare(library, "K32GetMappedFileNameW", dword, handle, pointer, wintypes.LPWSTR, dword)
    return library
