"""A process of one's own, and a thread in it that another one creates: the real thing, at a harmless routine."""

import contextlib
import ctypes
import subprocess
import sys
from ctypes import wintypes

# CREATE_THREAD, QUERY_INFORMATION, VM_OPERATION, VM_WRITE, VM_READ: what CreateRemoteThread asks for.
ACCESS = 0x0002 | 0x0400 | 0x0008 | 0x0020 | 0x0010
WAIT_SECONDS = 30
WAITING = "import sys; print('here', flush=True); sys.stdin.read()"


def _kernel32():
    library = ctypes.WinDLL("kernel32", use_last_error=True)
    signatures = {
        "OpenProcess": (wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.DWORD),
        "GetModuleHandleW": (wintypes.HMODULE, wintypes.LPCWSTR),
        "GetProcAddress": (ctypes.c_void_p, wintypes.HMODULE, wintypes.LPCSTR),
        "CreateRemoteThread": (
            wintypes.HANDLE,
            wintypes.HANDLE,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_void_p,
            wintypes.DWORD,
            ctypes.POINTER(wintypes.DWORD),
        ),
        "WaitForSingleObject": (wintypes.DWORD, wintypes.HANDLE, wintypes.DWORD),
        "CloseHandle": (wintypes.BOOL, wintypes.HANDLE),
    }
    for name, (result, *arguments) in signatures.items():
        getattr(library, name).restype = result
        getattr(library, name).argtypes = arguments
    return library


@contextlib.contextmanager
def target():
    """A process that waits, with all that it needs loaded."""
    with subprocess.Popen(
        (sys.executable, "-c", WAITING), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline().strip() == b"here"
            yield process
        finally:
            process.kill()


def create_remote_thread(pid):
    """Create a thread in process *pid* that calls Sleep(0); return its id and its start address."""
    kernel32 = _kernel32()
    # System libraries have one address in all processes until the next boot.
    start = kernel32.GetProcAddress(kernel32.GetModuleHandleW("kernel32.dll"), b"Sleep")
    process = kernel32.OpenProcess(ACCESS, False, pid)  # noqa: FBT003 (a handle that children do not inherit)
    if not process:
        raise ctypes.WinError(ctypes.get_last_error())
    tid = wintypes.DWORD()
    try:
        thread = kernel32.CreateRemoteThread(process, None, 0, start, None, 0, ctypes.byref(tid))
        if not thread:
            raise ctypes.WinError(ctypes.get_last_error())
        ended = kernel32.WaitForSingleObject(thread, WAIT_SECONDS * 1000)
        kernel32.CloseHandle(thread)
    finally:
        kernel32.CloseHandle(process)
    assert ended == 0, "Sleep(0) does not return"
    return tid.value, start
