"""Event tracing as programs use it: Windows' functions through ctypes, with pywintrace's structures."""

import contextlib
import ctypes as ct
import threading
import time
from struct import unpack_from
from typing import NamedTuple
from uuid import UUID

from etw import evntrace as et
from etw.evntcons import PROCESS_TRACE_MODE_EVENT_RECORD, PROCESS_TRACE_MODE_REAL_TIME
from etw.GUID import GUID

from etwdetect.core.events import ThreadStart
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.sources.decode.encode import encode

QUERY, STOP, UPDATE, FLUSH = range(4)
DISABLE, ENABLE, CAPTURE_STATE = range(3)
REAL_TIME, MS_FLUSH, ONE_BUFFER_FOR_ALL, SYSTEM_LOGGER = 0x100, 0x10, 0x1000_0000, 0x0200_0000
PROCESS_KEYWORD, THREAD_KEYWORD, IMAGE_KEYWORD = 0x10, 0x20, 0x40
INVALID_HANDLE = 0xFFFF_FFFF_FFFF_FFFF
PATIENCE = 60.0

_ROOM = 1024
_TRACED_GUID = 0x20000
_SIZE = ct.sizeof(et.EVENT_TRACE_PROPERTIES)


class Properties(ct.Structure):
    """EVENT_TRACE_PROPERTIES with room for both names."""

    _fields_ = [
        ("fields", et.EVENT_TRACE_PROPERTIES),
        ("name", ct.c_wchar * _ROOM),
        ("file", ct.c_wchar * _ROOM),
    ]

    def __init__(self, *, file="", guid=None, clock=1, **values):
        super().__init__()
        fields = self.fields
        fields.Wnode.BufferSize = ct.sizeof(self)
        fields.Wnode.Flags = _TRACED_GUID
        fields.Wnode.ClientContext = clock
        if guid is not None:
            fields.Wnode.Guid = GUID(f"{{{UUID(bytes_le=guid)}}}")
        fields.LoggerNameOffset = _SIZE
        fields.LogFileNameOffset = _SIZE + ct.sizeof(ct.c_wchar) * _ROOM
        self.file = file
        for name, value in values.items():
            setattr(fields, name, value)


def start(name, **values):
    """Start a session; return Windows' error, the handle and the properties as they were filled."""
    properties = Properties(**{"LogFileMode": REAL_TIME, **values})
    handle = et.TRACEHANDLE()
    error = et.StartTraceW(ct.byref(handle), name, ct.byref(properties.fields))
    return error, handle.value, properties


def control(name, code, handle=0, **values):
    """Query, stop, update or flush; return Windows' error and the properties as they were filled."""
    properties = Properties(**values)
    return et.ControlTraceW(handle, name, ct.byref(properties.fields), code), properties


def query(name):
    error, properties = control(name, QUERY)
    assert error == 0
    return properties.fields


def guid(provider):
    return GUID(f"{{{UUID(bytes_le=provider)}}}")


def enable(
    handle, *, provider=KERNEL_PROCESS, code=ENABLE, level=4, any_keyword=0x70, all_keyword=0, parameters=None
):
    return et.EnableTraceEx2(
        handle, ct.byref(guid(provider)), code, level, any_keyword, all_keyword, 0, parameters
    )


def thread_start(tid, time=0):
    """A remote thread's start: thread *tid* of process 20, by thread 11 of process 10."""
    return encode(ThreadStart(time, creator_pid=10, creator_tid=11, pid=20, tid=tid))


def tid_of(seen):
    return unpack_from("<4xI", seen.payload)[0]


class Seen(NamedTuple):
    """What a callback was given of an event."""

    provider: bytes
    id: int
    version: int
    opcode: int
    level: int
    keyword: int
    flags: int
    time: int
    pid: int
    tid: int
    cpu: int
    payload: bytes
    thread: int
    context: int
    items: tuple


def items_of(event):
    """The extended items of an EVENT_RECORD, (type, data); each is {u16, u16 type, u16, u16 size, u64 address}."""
    for number in range(event.ExtendedDataCount):
        item = ct.string_at(ct.cast(event.ExtendedData, ct.c_void_p).value + 16 * number, 16)
        _, kind, _, size, address = unpack_from("<HHHHQ", item)
        yield kind, ct.string_at(address, size)


class Consumer:
    """Reads a session in a thread of its own."""

    def __init__(self, name, *, raw=False, context=0, buffer_callback=None):
        self.events = []
        self.result = None
        self.entered = False
        self._hold = threading.Event()
        self._hold.set()
        self._callback = et.EVENT_RECORD_CALLBACK(self._on_event)
        self.logfile = logfile = et.EVENT_TRACE_LOGFILE()
        logfile.LoggerName = name
        logfile.ProcessTraceMode = (
            PROCESS_TRACE_MODE_REAL_TIME | PROCESS_TRACE_MODE_EVENT_RECORD | (0x1000 if raw else 0)
        )
        logfile.EventRecordCallback = self._callback
        logfile.Context = context
        if buffer_callback is not None:
            logfile.BufferCallback = self._buffer_callback = et.EVENT_TRACE_BUFFER_CALLBACK(buffer_callback)
        self.handle = et.OpenTraceW(ct.byref(logfile))
        self.open_error = ct.GetLastError()
        self.thread = threading.Thread(target=self._run, daemon=True)
        if self.handle != INVALID_HANDLE:
            self.thread.start()

    def _run(self):
        self.result = self.process()

    def process(self):
        return et.ProcessTrace(ct.byref(et.TRACEHANDLE(self.handle)), 1, None, None)

    def _on_event(self, record):
        self.entered = True
        self._hold.wait()
        event = record.contents
        header, descriptor = event.EventHeader, event.EventHeader.EventDescriptor
        payload = ct.string_at(event.UserData, event.UserDataLength) if event.UserData else b""
        self.events.append(
            Seen(
                bytes(header.ProviderId), descriptor.Id, descriptor.Version, descriptor.Opcode, descriptor.Level,
                descriptor.Keyword, header.Flags, header.TimeStamp, header.ProcessId, header.ThreadId,
                event.BufferContext.ProcessorNumber, payload, threading.get_ident(), event.UserContext or 0,
                tuple(items_of(event)),
            )
        )  # fmt: skip

    def hold(self):
        """Let the callback wait, as one that is too slow."""
        self._hold.clear()

    def release(self):
        self._hold.set()

    def wait_for(self, count):
        """Wait until so many events came."""
        until(lambda: len(self.events) >= count)
        return self.events

    def wait_for_end(self):
        """Wait until ProcessTrace returns; return what it returned."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.result

    def close(self):
        self.release()
        error = et.CloseTrace(self.handle)
        if self.thread.ident is not None:
            self.thread.join(PATIENCE)
        return error


@contextlib.contextmanager
def consuming(name, **options):
    consumer = Consumer(name, **options)
    assert consumer.handle != INVALID_HANDLE
    try:
        yield consumer
    finally:
        consumer.close()


def until(condition):
    """Wait for what must come true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
