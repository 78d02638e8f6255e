"""What Windows itself tells of its processes, as the events that a trace would tell it in.

For what no event of a session tells: the command line and the user of a process, and all of one that is older
than the session. Nothing here raises an error: a process that is gone, or that nobody may look into, is not told
of. None of it creates a thread in another process, as listing modules the usual way (Toolhelp) does.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import socket
import struct
import subprocess
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, Any, ClassVar, Final

from etwdetect.core.events import ImageLoad, ProcessRundown, VolumeMapping
from etwdetect.core.filetime import from_unix_seconds
from etwdetect.windows.libraries import declare, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUERY: Final = 0x0400  # PROCESS_QUERY_INFORMATION
_QUERY_LIMITED: Final = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_READ: Final = 0x0010  # PROCESS_VM_READ
_NATIVE_NAME: Final = 1  # PROCESS_NAME_NATIVE
_TOKEN_QUERY: Final = 0x0008
_TOKEN_USER: Final = 1
_ALL_MODULES: Final = 3  # LIST_MODULES_ALL
_MOST_MODULES: Final = 4096
_LONGEST_PATH: Final = 32_768
_LONGEST_TOKEN_USER: Final = 128
_PAGE: Final = 4096


class ModuleInfo(ctypes.Structure):
    """MODULEINFO of psapi.h, 24 bytes on x64."""

    _fields_: ClassVar = [
        ("lpBaseOfDll", ctypes.c_void_p),
        ("SizeOfImage", wintypes.DWORD),
        ("EntryPoint", ctypes.c_void_p),
    ]


def host() -> str:
    """Return this machine's name."""
    # platform.node() gives the same, after asking WMI for things that nobody wants here.
    return socket.gethostname()


def boot_time() -> int:
    """Return the FILETIME of this machine's start."""
    import psutil  # noqa: PLC0415

    return from_unix_seconds(psutil.boot_time())


def volumes(time: int) -> Iterator[VolumeMapping]:
    """Yield what each drive's letter stands for."""
    kernel32 = _kernel32()
    letters, device = ctypes.create_unicode_buffer(_LONGEST_PATH), ctypes.create_unicode_buffer(_LONGEST_PATH)
    count = kernel32.GetLogicalDriveStringsW(len(letters), letters)
    for root in ctypes.wstring_at(letters, count).split("\0"):
        if root and kernel32.QueryDosDeviceW(root.rstrip("\\"), device, len(device)):
            yield VolumeMapping(time, device.value + "\\", root)


def processes(time: int) -> Iterator[ProcessRundown]:
    """Yield every process that there is, as found at the FILETIME *time*."""
    import psutil  # noqa: PLC0415 (there is none elsewhere than on Windows)

    for pid in psutil.pids():
        found = process(pid, time)
        if found is not None:
            yield found


def process(pid: int, time: int) -> ProcessRundown | None:
    """Return the process that has the id *pid* now, as found at *time*, or None where there is none."""
    import psutil  # noqa: PLC0415

    try:
        looked_at = psutil.Process(pid)
    except (psutil.Error, OSError):
        return None

    def told(ask: Any) -> Any:  # noqa: ANN401 (psutil's methods)
        # On real Windows a process may deny each of these; under Wine some of them fail in other ways.
        with contextlib.suppress(psutil.Error, OSError):
            return ask()
        return None

    created = told(looked_at.create_time)
    command_line = told(looked_at.cmdline)
    return ProcessRundown(
        time,
        pid,
        parent_pid=told(looked_at.ppid) or None,
        session_id=_session_id(pid),
        create_time=from_unix_seconds(created) if created else None,
        sid=_sid(pid),
        image=_image(pid),
        command_line=subprocess.list2cmdline(command_line) if command_line else None,
    )


def modules(pid: int, time: int) -> Iterator[ImageLoad]:
    """Yield the modules that are mapped into the process *pid* now, as found at *time*."""
    kernel32 = _kernel32()
    with _opened(pid, _QUERY | _READ) as handle:
        bases = (wintypes.HMODULE * _MOST_MODULES)()
        size = wintypes.DWORD()
        if not kernel32.K32EnumProcessModulesEx(
            handle, bases, ctypes.sizeof(bases), ctypes.byref(size), _ALL_MODULES
        ):
            return
        name = ctypes.create_unicode_buffer(_LONGEST_PATH)
        for base in bases[: size.value // ctypes.sizeof(wintypes.HMODULE)]:
            info = ModuleInfo()
            if not kernel32.K32GetModuleInformation(handle, base, ctypes.byref(info), ctypes.sizeof(info)):
                continue
            length = kernel32.K32GetMappedFileNameW(handle, info.lpBaseOfDll, name, len(name))
            image = name.value if length else None
            stamp, checksum = _build(handle, info.lpBaseOfDll)
            yield ImageLoad(time, pid, base or 0, info.SizeOfImage, checksum, stamp, image, rundown=True)


def _build(handle: int | None, base: int | None) -> tuple[int | None, int | None]:
    """Return what tells an image's build, from its PE header in memory: its time stamp and its checksum."""
    header = ctypes.create_string_buffer(_PAGE)
    if not _kernel32().ReadProcessMemory(handle, base, header, len(header), None):
        return None, None
    # IMAGE_DOS_HEADER.e_lfanew at 60; from there the stamp at 8 and, in both optional headers, the checksum at 88.
    (at,) = struct.unpack_from("<I", header, 60)
    if at + 92 > len(header) or header.raw[at : at + 4] != b"PE\0\0":
        return None, None
    stamp, checksum = struct.unpack_from("<I76xI", header, at + 8)
    return stamp, checksum or None


@contextlib.contextmanager
def _opened(pid: int, access: int) -> Iterator[int | None]:
    """Open the process; with None, which every call then refuses, where that is denied."""
    kernel32 = _kernel32()
    handle = kernel32.OpenProcess(access, False, pid)  # noqa: FBT003 (no handle for our children)
    try:
        yield handle
    finally:
        if handle:
            kernel32.CloseHandle(handle)


def _image(pid: int) -> str | None:
    r"""Return the path of the program in the form that events have: ``\\Device\\HarddiskVolume3\\…``."""
    name = ctypes.create_unicode_buffer(_LONGEST_PATH)
    size = wintypes.DWORD(len(name))
    with _opened(pid, _QUERY_LIMITED) as handle:
        told = _kernel32().QueryFullProcessImageNameW(handle, _NATIVE_NAME, name, ctypes.byref(size))
    return name.value or None if told else None


def _session_id(pid: int) -> int | None:
    session = wintypes.DWORD()
    return session.value if _kernel32().ProcessIdToSessionId(pid, ctypes.byref(session)) else None


def _sid(pid: int) -> bytes | None:
    """Return the SID of the process's user: [MS-DTYP] 2.4.2.2, 8 bytes and 4 for each subauthority."""
    advapi32 = _advapi32()
    token = wintypes.HANDLE()
    with _opened(pid, _QUERY_LIMITED) as handle:
        if not advapi32.OpenProcessToken(handle, _TOKEN_QUERY, ctypes.byref(token)):
            return None
    try:
        # TOKEN_USER: a pointer to the SID, which stands behind it, and attributes.
        answer = ctypes.create_string_buffer(_LONGEST_TOKEN_USER)
        size = wintypes.DWORD()
        if not advapi32.GetTokenInformation(token, _TOKEN_USER, answer, len(answer), ctypes.byref(size)):
            return None
        sid = ctypes.c_void_p.from_buffer(answer).value or 0
        start = sid - ctypes.addressof(answer)
        return answer.raw[start : start + 8 + 4 * answer.raw[start + 1]]
    finally:
        _kernel32().CloseHandle(token)


@functools.cache
def _kernel32() -> ctypes.CDLL:
    library = load_library("kernel32")
    handle, dword, pointer = wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p
    declare(library, "OpenProcess", handle, dword, wintypes.BOOL, dword)
    declare(library, "CloseHandle", wintypes.BOOL, handle)
    declare(library, "GetLogicalDriveStringsW", dword, dword, wintypes.LPWSTR)
    declare(library, "QueryDosDeviceW", dword, wintypes.LPCWSTR, wintypes.LPWSTR, dword)
    declare(library, "ReadProcessMemory", wintypes.BOOL, handle, pointer, pointer, ctypes.c_size_t, pointer)
    declare(library, "ProcessIdToSessionId", wintypes.BOOL, dword, POINTER(dword))
    declare(library, "QueryFullProcessImageNameW", wintypes.BOOL, handle, dword, wintypes.LPWSTR, POINTER(dword))
    declare(library, "K32EnumProcessModulesEx", wintypes.BOOL, handle, pointer, dword, POINTER(dword), dword)
    declare(
        library, "K32GetModuleInformation", wintypes.BOOL, handle, wintypes.HMODULE, POINTER(ModuleInfo), dword
    )
    declare(library, "K32GetMappedFileNameW", dword, handle, pointer, wintypes.LPWSTR, dword)
    return library


@functools.cache
def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32")
    handle, dword = wintypes.HANDLE, wintypes.DWORD
    declare(library, "OpenProcessToken", wintypes.BOOL, handle, dword, POINTER(handle))
    declare(
        library, "GetTokenInformation", wintypes.BOOL, handle, ctypes.c_int, ctypes.c_void_p, dword, POINTER(dword)
    )
    return library
