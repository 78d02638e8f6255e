"""The simulated kernel with the KDetector driver in it, from Python.

``make -C driver sim`` builds the library; driver/simkernel/src/SimKernel.h describes each call. There is one
kernel to a process, and when the driver breaks its rules the kernel stops: it prints the stop code's name and
aborts the process, as the real one would.
"""

from __future__ import annotations

import ctypes
import enum
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from etwdetect.kdetector.interface import (
    IOCTL_STATISTICS,
    IOCTL_VERSION,
    RECORD,
    STATISTICS,
    VERSION,
    Statistics,
    parse_records,
    parse_statistics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from etwdetect.core.rule import RemoteThread

FILE_READ_DATA: Final = 0x1

KEEP_TIME: Final = -1
"""The time of an event that leaves the clock alone."""

_EVENT = struct.Struct("<q6I")
_TEXT_SIZE = 1 << 16


class Kind(enum.IntEnum):
    """What can happen in the simulated system."""

    PROCESS_CREATED = 0
    PROCESS_EXITED = 1
    THREAD_CREATED = 2
    THREAD_EXITED = 3


class SimEvent(NamedTuple):
    """A creation or an exit, at *time* (FILETIME; KEEP_TIME leaves the clock alone).

    The creator is the thread that makes the process or the thread; for an exit, the thread that exits.
    """

    time: int
    kind: Kind
    creator_pid: int
    creator_tid: int
    pid: int
    tid: int = 0


class Version(NamedTuple):
    """The driver's answer to IOCTL_VERSION."""

    version: int
    record_size: int


class StatusError(Exception):
    """A call that did not succeed, with its NTSTATUS as an unsigned number."""

    def __init__(self, call: str, status: int) -> None:
        super().__init__(f"{call}: NTSTATUS 0x{status:08X}")
        self.status = status


class SimKernel:
    """The kernel, with the driver loaded for the time of a ``with`` block.

    *table_bound* and *queue_bound* are the service's registry values; without them the driver has its own
    defaults. Raises OSError when there is no such library, and StatusError when the driver does not load.
    """

    def __init__(self, library: Path, *, table_bound: int | None = None, queue_bound: int | None = None) -> None:
        self._library = _declare(ctypes.CDLL(str(library)))
        self._registry = {"TableBound": table_bound, "QueueBound": queue_bound}

    def __enter__(self) -> Self:
        self._library.sim_clear_registry()
        for name, value in self._registry.items():
            if value is not None:
                self.set_registry_value(name, value)
        self.load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_loaded:
            self.unload()

    @property
    def is_loaded(self) -> bool:
        """Whether the driver is loaded, be it on its way out."""
        return bool(self._library.sim_is_loaded())

    def load(self) -> None:
        """Load the driver."""
        _check("load", self._library.sim_load())

    def unload(self) -> bool:
        """Unload the driver; False when that waits until the last open handle is closed."""
        return _check("unload", self._library.sim_unload()) == 0

    def set_registry_value(self, name: str, value: int | str) -> None:
        """Set a value of the service's Parameters key: REG_DWORD or REG_SZ."""
        if isinstance(value, int):
            self._library.sim_set_registry_dword(name.encode(), value)
        else:
            self._library.sim_set_registry_string(name.encode(), value.encode())

    def process_created(self, creator: tuple[int, int], pid: int, time: int = KEEP_TIME) -> None:
        """Process *pid* is created by the thread *creator* (pid, tid)."""
        self._library.sim_process_created(*creator, pid, time)

    def process_exited(self, pid: int, tid: int, time: int = KEEP_TIME) -> None:
        """Process *pid* exits with its last thread, *tid*."""
        self._library.sim_process_exited(pid, tid, time)

    def thread_created(self, creator: tuple[int, int], pid: int, tid: int, time: int = KEEP_TIME) -> None:
        """Thread *tid* of process *pid* is created by the thread *creator* (pid, tid)."""
        self._library.sim_thread_created(*creator, pid, tid, time)

    def thread_exited(self, pid: int, tid: int, time: int = KEEP_TIME) -> None:
        """Thread *tid* of process *pid* exits."""
        self._library.sim_thread_exited(pid, tid, time)

    def play(self, events: Iterable[SimEvent]) -> int:
        """Let all events happen, in their order, in one call; return how many there were."""
        packed = b"".join(_EVENT.pack(*event, 0) for event in events)
        count = len(packed) // _EVENT.size
        self._library.sim_play(packed, count)
        return count

    def set_time(self, time: int, step: int = 0) -> None:
        """Set the clock (FILETIME), and what is added to it each time the driver reads it."""
        self._library.sim_set_time(time)
        self._library.sim_set_clock_step(step)

    def fail_allocation(self, nth: int, *, again: bool = False) -> None:
        """Make the nth allocation from now fail, or every nth one; 0 lets all succeed."""
        self._library.sim_fail_allocation(nth, again)

    def fail_call(self, nth: int) -> None:
        """Make the nth call from now fail, of all that a driver must expect to fail; 0 lets all succeed."""
        self._library.sim_fail_call(nth)

    @property
    def failed_routine(self) -> str:
        """The kernel routine that failed last, since fail_call."""
        return self._text(self._library.sim_failed_routine)

    def set_busy(self, *, busy: bool) -> None:
        """Whether a process and its first thread appear in the moment a notification is registered."""
        self._library.sim_set_busy(busy)

    def set_thread_notification_irql(self, irql: int) -> None:
        """Notify of threads at PASSIVE_LEVEL (0, the default) or APC_LEVEL (1)."""
        self._library.sim_set_thread_notification_irql(irql)

    def set_kernel_mode(self, *, kernel_mode: bool) -> None:
        """Whether this thread's requests come from the kernel, which checks no access of its own handles."""
        self._library.sim_set_kernel_mode(kernel_mode)

    @property
    def lock_acquisitions(self) -> int:
        """How many locks the driver ever acquired on this thread."""
        return int(self._library.sim_lock_acquisitions())

    def set_debug_mask(self, mask: int) -> None:
        """Which levels of debug lines to keep, as the registry's Debug Print Filter has it."""
        self._library.sim_set_debug_mask(mask)

    def take_debug_output(self) -> str:
        """Return the debug lines since the last call."""
        return self._text(self._library.sim_take_debug_output)

    @property
    def device_security(self) -> str:
        """The device's access control list, as a security descriptor string."""
        return self._text(self._library.sim_device_security)

    def open(self, access: int) -> int:
        r"""Open \\.\kdetector and return the handle."""
        handle = ctypes.c_uint32()
        _check("open", self._library.sim_open(access, ctypes.byref(handle)))
        return handle.value

    def close(self, handle: int) -> None:
        """Close a handle."""
        _check("close", self._library.sim_close(handle))

    def read(self, handle: int, size: int) -> bytes:
        """Read at most *size* bytes."""
        buffer = ctypes.create_string_buffer(size)
        returned = ctypes.c_uint32()
        _check("read", self._library.sim_read(handle, buffer, size, ctypes.byref(returned)))
        return buffer.raw[: returned.value]

    def read_records(self, handle: int, count: int = 4096) -> list[RemoteThread]:
        """Read at most *count* records."""
        return parse_records(self.read(handle, count * RECORD.size))

    def drain(self) -> list[RemoteThread]:
        """Open the device, read until nothing is left, close it."""
        handle = self.open(FILE_READ_DATA)
        try:
            records: list[RemoteThread] = []
            while more := self.read_records(handle):
                records += more
        finally:
            self.close(handle)
        return records

    def ioctl(self, handle: int, code: int, size: int) -> bytes:
        """Send a control code with room for *size* bytes of answer."""
        buffer = ctypes.create_string_buffer(size)
        returned = ctypes.c_uint32()
        _check("ioctl", self._library.sim_ioctl(handle, code, buffer, size, ctypes.byref(returned)))
        return buffer.raw[: returned.value]

    def version(self) -> Version:
        """Ask for the interface's version and the size of a record."""
        return Version._make(VERSION.unpack(self._ask(IOCTL_VERSION, VERSION.size)))

    def statistics(self) -> Statistics:
        """Ask what was counted."""
        return parse_statistics(self._ask(IOCTL_STATISTICS, STATISTICS.size))

    def _ask(self, code: int, size: int) -> bytes:
        handle = self.open(0)
        try:
            return self.ioctl(handle, code, size)
        finally:
            self.close(handle)

    @staticmethod
    def _text(call: Callable[[object, int], int]) -> str:
        buffer = ctypes.create_string_buffer(_TEXT_SIZE)
        length = call(buffer, _TEXT_SIZE)
        return buffer.raw[:length].decode()


def _check(call: str, status: int) -> int:
    """Raise StatusError where NT_SUCCESS is false."""
    if status < 0:
        raise StatusError(call, status & 0xFFFFFFFF)
    return status


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tell ctypes the prototypes of SimKernel.h."""
    status, number, count, time = ctypes.c_int32, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_int64
    text, buffer, result = ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)
    flag, nothing = ctypes.c_int, None
    prototypes: dict[str, tuple[object, ...]] = {
        "sim_load": (status,),
        "sim_unload": (status,),
        "sim_is_loaded": (flag,),
        "sim_process_created": (nothing, number, number, number, time),
        "sim_process_exited": (nothing, number, number, time),
        "sim_thread_created": (nothing, number, number, number, number, time),
        "sim_thread_exited": (nothing, number, number, time),
        "sim_play": (nothing, text, count),
        "sim_set_time": (nothing, time),
        "sim_set_clock_step": (nothing, time),
        "sim_set_registry_dword": (nothing, text, number),
        "sim_set_registry_string": (nothing, text, text),
        "sim_clear_registry": (nothing,),
        "sim_open": (status, number, result),
        "sim_close": (status, number),
        "sim_read": (status, number, buffer, number, result),
        "sim_ioctl": (status, number, number, buffer, number, result),
        "sim_device_security": (count, buffer, count),
        "sim_fail_call": (nothing, number),
        "sim_fail_allocation": (nothing, number, flag),
        "sim_failed_routine": (count, buffer, count),
        "sim_set_busy": (nothing, flag),
        "sim_set_thread_notification_irql": (nothing, ctypes.c_uint8),
        "sim_set_kernel_mode": (nothing, flag),
        "sim_lock_acquisitions": (ctypes.c_uint64,),
        "sim_set_debug_mask": (nothing, number),
        "sim_take_debug_output": (count, buffer, count),
    }
    for name, (restype, *argtypes) in prototypes.items():
        function = getattr(library, name)
        function.restype = restype
        function.argtypes = argtypes
    return library
