"""The Windows calls that create, debug and end processes and threads; each raises OSError if Windows fails."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
import sys
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, NoReturn

from etwdetect.windows.libraries import declare, last_error, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL_ACCESS: Final = 0x1F_FFFF  # PROCESS_ALL_ACCESS and THREAD_ALL_ACCESS

_DEBUG_ONLY_THIS_PROCESS: Final = 0x2
_CREATE_SUSPENDED: Final = 0x4
_DETACHED_PROCESS: Final = 0x8
_EXTENDED_STARTUPINFO_PRESENT: Final = 0x8_0000
_USE_STD_HANDLES: Final = 0x100
_STD_INPUT: Final = -10 & 0xFFFF_FFFF
_STD_HANDLES: Final = (_STD_INPUT, _STD_INPUT - 1, _STD_INPUT - 2)
_HANDLE_FLAG_INHERIT: Final = 1
_INHERIT: Final = 1
_NOT_INHERITED: Final = 0
_PIPE_SIZE: Final = 1 << 16
_PARENT_PROCESS: Final = 0x2_0000  # PROC_THREAD_ATTRIBUTE_PARENT_PROCESS

_COMMIT_AND_RESERVE: Final = 0x3000
_EXECUTE_READ_WRITE: Final = 0x40
_RETURN_ZERO: Final = b"\x31\xc0\xc3"  # xor eax, eax; ret

_DEBUG_CONTINUE: Final = 0x0001_0002
_DEBUG_NOT_HANDLED: Final = 0x8001_0001
_DEBUG_EVENT: Final = struct.Struct("<III4xQ")
"""DEBUG_EVENT on x64, 176 bytes: dwDebugEventCode, dwProcessId, dwThreadId, and what the union begins with."""
_DEBUG_EVENT_SIZE: Final = 176
EXCEPTION: Final = 1
CREATED_PROCESS: Final = 3
_LOADED_DLL: Final = 6
BREAKPOINT: Final = 0x8000_0003

_CTRL_BREAK: Final = 1

_WAIT_FAILED: Final = 0xFFFF_FFFF
_WAIT_TIMEOUT: Final = 258
_ERROR_SEM_TIMEOUT: Final = 121


class _StartupInfo(ctypes.Structure):
    """STARTUPINFOEXW, 112 bytes on x64."""

    _fields_: ClassVar = [
        ("cb", wintypes.DWORD),
        ("names", ctypes.c_void_p * 3),
        ("place", wintypes.DWORD * 7),
        ("dwFlags", wintypes.DWORD),
        ("wShowWindow", wintypes.WORD),
        ("cbReserved2", wintypes.WORD),
        ("lpReserved2", ctypes.c_void_p),
        ("std_handles", ctypes.c_void_p * 3),
        ("lpAttributeList", ctypes.c_void_p),
    ]


class _ProcessInformation(ctypes.Structure):
    """PROCESS_INFORMATION, 24 bytes on x64."""

    _fields_: ClassVar = [
        ("hProcess", wintypes.HANDLE),
        ("hThread", wintypes.HANDLE),
        ("dwProcessId", wintypes.DWORD),
        ("dwThreadId", wintypes.DWORD),
    ]


class Started(NamedTuple):
    """The ids of a new process and its first thread."""

    pid: int
    tid: int


class DebugEvent(NamedTuple):
    """A debug event; *exception* is the exception code, or None for other events."""

    kind: int
    pid: int
    tid: int
    exception: int | None


_kept: list[int] = []
"""The standard handles of started processes; while empty, they get ours."""


@functools.cache
def keep_standard_handles() -> None:
    """Give started processes pipes as standard handles; the other ends are neither read nor written.

    They and their children share these pipes, which break when this process ends.
    """
    api = _kernel32()
    for number in _STD_HANDLES:
        near, far = wintypes.HANDLE(), wintypes.HANDLE()
        ends = (near, far) if number == _STD_INPUT else (far, near)
        if not api.CreatePipe(ctypes.byref(ends[0]), ctypes.byref(ends[1]), None, _PIPE_SIZE):
            _fail("creating a pipe")
        if not api.SetHandleInformation(near, _HANDLE_FLAG_INHERIT, _HANDLE_FLAG_INHERIT):
            _fail("preparing a pipe")
        _kept.append(near.value or 0)


def start_process(
    command: str, *, suspended: bool = False, debugged: bool = False, parent: int | None = None
) -> Started:
    """Start *command* without a console; *parent* is the pid of a spoofed parent.

    Its standard handles are those of `keep_standard_handles`, or ours. They must have the same values in *parent*:
    a child inherits from its parent, not from us.
    """
    api = _kernel32()
    flags = _DETACHED_PROCESS | (_CREATE_SUSPENDED if suspended else 0)
    flags |= _DEBUG_ONLY_THIS_PROCESS if debugged else 0
    startup, info = _StartupInfo(), _ProcessInformation()
    startup.cb = ctypes.sizeof(startup) - ctypes.sizeof(ctypes.c_void_p)
    startup.dwFlags = _USE_STD_HANDLES
    startup.std_handles[:] = _kept or [api.GetStdHandle(number) for number in _STD_HANDLES]
    with contextlib.ExitStack() as stack:
        if parent is not None:
            handle = wintypes.HANDLE(stack.enter_context(_process(parent)))
            startup.lpAttributeList = ctypes.addressof(attributes := _attributes(handle))
            startup.cb = ctypes.sizeof(startup)
            flags |= _EXTENDED_STARTUPINFO_PRESENT
            stack.callback(api.DeleteProcThreadAttributeList, attributes)
        line = ctypes.create_unicode_buffer(command)
        if not api.CreateProcessW(
            None, line, None, None, _INHERIT, flags, None, None, ctypes.byref(startup), ctypes.byref(info)
        ):
            _fail(f"starting {command}")
    api.CloseHandle(info.hThread)
    api.CloseHandle(info.hProcess)
    return Started(info.dwProcessId, info.dwThreadId)


def _attributes(parent: wintypes.HANDLE) -> ctypes.Array[ctypes.c_char]:
    """Return an attribute list that names *parent*; the caller must keep *parent* alive as long as the list."""
    api = _kernel32()
    size = ctypes.c_size_t()
    api.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    if not api.InitializeProcThreadAttributeList(attributes, 1, 0, ctypes.byref(size)):
        _fail("preparing the attribute list")
    if not api.UpdateProcThreadAttribute(
        attributes, 0, _PARENT_PROCESS, ctypes.byref(parent), ctypes.sizeof(parent), None, None
    ):
        _fail("setting the parent process")
    return attributes


def resume(tid: int) -> None:
    """Resume the suspended thread *tid*."""
    api = _kernel32()
    with _handle(api.OpenThread(_ALL_ACCESS, _NOT_INHERITED, tid), f"opening thread {tid}") as thread:
        if api.ResumeThread(thread) == _WAIT_FAILED:
            _fail(f"resuming thread {tid}")


def create_remote_thread(pid: int, at: str) -> int:
    """Create a thread in the process *pid* that starts at *at* ("nowhere" or "image!function"); return its id.

    "nowhere" is three bytes of private memory that return 0; a function is called with the argument 0.
    """
    api = _kernel32()
    with _process(pid) as process:
        start = _private_code(process) if at == "nowhere" else function_address(at)
        tid = wintypes.DWORD()
        thread = api.CreateRemoteThread(process, None, 0, start, None, 0, ctypes.byref(tid))
        with _handle(thread, f"creating a thread in process {pid}"):
            return tid.value


def _private_code(process: int) -> int:
    api = _kernel32()
    size = len(_RETURN_ZERO)
    place: int | None = api.VirtualAllocEx(process, None, size, _COMMIT_AND_RESERVE, _EXECUTE_READ_WRITE)
    if not place:
        _fail("allocating memory in another process")
    if not api.WriteProcessMemory(process, place, _RETURN_ZERO, size, None):
        _fail("writing to another process")
    return place


def function_address(at: str) -> int:
    """Return the address of "image!function"; system DLLs have the same base in every process."""
    api = _kernel32()
    image, _, function = at.partition("!")
    address: int | None = api.GetProcAddress(api.GetModuleHandleW(image), function.encode())
    if not address:
        _fail(f"looking up {at}")
    return address


def debug(pid: int) -> None:
    """Attach to the process *pid* as its debugger, which creates the break-in thread; the process survives us."""
    if not _kernel32().DebugActiveProcess(pid):
        _fail(f"attaching to process {pid}")
    survive()


def survive() -> None:
    """Let the debuggees of this thread survive it (DebugSetProcessKillOnExit)."""
    if not _kernel32().DebugSetProcessKillOnExit(0):
        _fail("letting debuggees survive")


def break_into(pid: int) -> None:
    """Create a break-in thread in the process *pid*."""
    with _process(pid) as process:
        if not _kernel32().DebugBreakProcess(process):
            _fail(f"breaking into process {pid}")


def stop_debugging(pid: int) -> None:
    """Detach from the process *pid*; must be called on the thread that attached."""
    if not _kernel32().DebugActiveProcessStop(pid):
        _fail(f"detaching from process {pid}")


def next_debug_event(milliseconds: int) -> DebugEvent | None:
    """Wait for a debug event of this thread's debuggees and continue the debuggee; None if there was none."""
    api = _kernel32()
    buffer = ctypes.create_string_buffer(_DEBUG_EVENT_SIZE)
    if not api.WaitForDebugEvent(buffer, milliseconds):
        if last_error() in (_ERROR_SEM_TIMEOUT, _WAIT_TIMEOUT):
            return None
        _fail("waiting for a debug event")
    kind, pid, tid, begins_with = _DEBUG_EVENT.unpack_from(buffer)
    if kind in (CREATED_PROCESS, _LOADED_DLL) and begins_with:
        api.CloseHandle(begins_with)  # hFile
    exception = begins_with & 0xFFFF_FFFF if kind == EXCEPTION else None
    handled = exception in (None, BREAKPOINT)
    if not api.ContinueDebugEvent(pid, tid, _DEBUG_CONTINUE if handled else _DEBUG_NOT_HANDLED):
        _fail("continuing after a debug event")
    return DebugEvent(kind, pid, tid, exception)


def suspend_process(pid: int) -> None:
    """Suspend all threads of the process *pid*, as a non-invasive debugger does."""
    with _process(pid) as process:
        _ntdll().NtSuspendProcess(process)


def resume_process(pid: int) -> None:
    """Resume all threads of the process *pid*."""
    with _process(pid) as process:
        _ntdll().NtResumeProcess(process)


def send_break(group: int) -> None:
    """Send Ctrl+Break to the process *group* (the id of its first process), which must share our console."""
    if not _kernel32().GenerateConsoleCtrlEvent(_CTRL_BREAK, group):
        _fail(f"sending Ctrl+Break to process group {group}")


def terminate(pid: int) -> None:
    """End the process *pid*; no error if it already exited."""
    api = _kernel32()
    with contextlib.suppress(OSError), _process(pid) as process:
        api.TerminateProcess(process, 0)


def wait_for_process(pid: int, seconds: float) -> bool:
    """Wait at most *seconds* until the process *pid* exits; return whether it did."""
    api = _kernel32()
    handle = api.OpenProcess(_ALL_ACCESS, _NOT_INHERITED, pid)
    return not handle or _wait(handle, seconds)


def wait_for_thread(tid: int, seconds: float) -> bool:
    """Wait at most *seconds* until the thread *tid* exits; return whether it did."""
    api = _kernel32()
    handle = api.OpenThread(_ALL_ACCESS, _NOT_INHERITED, tid)
    return not handle or _wait(handle, seconds)


def _wait(handle: int, seconds: float) -> bool:
    api = _kernel32()
    try:
        return bool(api.WaitForSingleObject(handle, round(seconds * 1000)) == 0)
    finally:
        api.CloseHandle(handle)


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    opened = _kernel32().OpenProcess(_ALL_ACCESS, _NOT_INHERITED, pid)
    with _handle(opened, f"opening process {pid}") as process:
        yield process


@contextlib.contextmanager
def _handle(handle: int | None, doing: str) -> Iterator[int]:
    """Close *handle* at the end; raise the last error if it is null."""
    if not handle:
        _fail(doing)
    try:
        yield handle
    finally:
        _kernel32().CloseHandle(handle)


def _fail(doing: str) -> NoReturn:
    code = last_error()
    if sys.platform == "win32":
        raise OSError(0, f"{doing}: {ctypes.FormatError(code).strip().rstrip('.')} ({code})", None, code)
    raise OSError(0, doing)


@functools.cache
def _ntdll() -> ctypes.CDLL:
    library = load_library("ntdll", "suspending a process")
    declare(library, "NtSuspendProcess", wintypes.LONG, wintypes.HANDLE)
    declare(library, "NtResumeProcess", wintypes.LONG, wintypes.HANDLE)
    return library


@functools.cache
def _kernel32() -> ctypes.CDLL:
    library = load_library("kernel32", "controlling a process")
    handle, dword, flag, pointer, size = (
        wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.c_void_p, ctypes.c_size_t,
    )  # fmt: skip
    of = functools.partial(declare, library)
    of("GetStdHandle", handle, dword)
    of("SetHandleInformation", flag, handle, dword, dword)
    of("CreatePipe", flag, POINTER(handle), POINTER(handle), pointer, dword)
    of(
        "CreateProcessW", flag, wintypes.LPCWSTR, wintypes.LPWSTR, pointer, pointer, flag, dword, pointer,
        wintypes.LPCWSTR, POINTER(_StartupInfo), POINTER(_ProcessInformation),
    )  # fmt: skip
    of("InitializeProcThreadAttributeList", flag, pointer, dword, dword, POINTER(size))
    of("UpdateProcThreadAttribute", flag, pointer, dword, size, pointer, size, pointer, pointer)
    of("DeleteProcThreadAttributeList", None, pointer)
    of("OpenProcess", handle, dword, flag, dword)
    of("OpenThread", handle, dword, flag, dword)
    of("CloseHandle", flag, handle)
    of("ResumeThread", dword, handle)
    of("CreateRemoteThread", handle, handle, pointer, size, pointer, pointer, dword, POINTER(dword))
    of("VirtualAllocEx", pointer, handle, pointer, size, dword, dword)
    of("WriteProcessMemory", flag, handle, pointer, ctypes.c_char_p, size, pointer)
    of("GetModuleHandleW", handle, wintypes.LPCWSTR)
    of("GetProcAddress", pointer, handle, ctypes.c_char_p)
    of("DebugActiveProcess", flag, dword)
    of("DebugActiveProcessStop", flag, dword)
    of("DebugSetProcessKillOnExit", flag, flag)
    of("DebugBreakProcess", flag, handle)
    of("WaitForDebugEvent", flag, pointer, dword)
    of("ContinueDebugEvent", flag, dword, dword, dword)
    of("GenerateConsoleCtrlEvent", flag, dword, dword)
    of("TerminateProcess", flag, handle, wintypes.UINT)
    of("WaitForSingleObject", dword, handle, dword)
    return library
