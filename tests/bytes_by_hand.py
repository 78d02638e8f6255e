"""Bytes of traces, made from the format's description alone: etwdetect's own layouts have no part in them."""

from struct import pack, pack_into

# GUIDs as their 16 bytes stand in a file: the first three groups little-endian.
KERNEL_PROCESS = bytes.fromhex("d62cfb22 7b0e 2b42 a0c7 2fad1fd0e716")
PROCESS = bytes.fromhex("d0a86f3d 05fe d011 9dda 00c04fd7ba7c")
THREAD = bytes.fromhex("d1a86f3d 05fe d011 9dda 00c04fd7ba7c")
IMAGE = bytes.fromhex("1d5db12c c15f d211 abe1 00a0c911f518")
LOST_EVENTS = bytes.fromhex("e09a396a c64b e94d 870b 3657f8947e7e")
SOME_OTHER_PROVIDER = bytes.fromhex("00112233 4455 6677 8899 aabbccddeeff")

NOBODY = 0xFFFFFFFF
START_TIME = 0x01DA_0000_0000_0000
"""A FILETIME in October 2023: when the traces made here begin."""
ANCHOR = 5_000_000
"""The raw time stamp of their logfile header."""


def u8(value):
    return pack("<B", value)


def u16(value):
    return pack("<H", value)


def u32(value):
    return pack("<I", value)


def u64(value):
    return pack("<Q", value)


def pointer(size, value):
    return {4: u32, 8: u64}[size](value)


def utf16(text):
    return text.encode("utf-16-le") + b"\0\0"


def ansi(text):
    return text.encode("ascii") + b"\0"


def padded(data, alignment=8):
    return data + bytes(-len(data) % alignment)


def event_header_record(
    provider,
    event_id,
    payload=b"",
    *,
    version=0,
    opcode=0,
    pid=0,
    tid=0,
    time=ANCHOR,
    header_type=0x13,
    flags=0x40,
    extended=b"",
    size=None,
):
    """EVENT_HEADER, 80 bytes, then extended items, then the payload."""
    size = 80 + len(extended) + len(payload) if size is None else size
    head = pack("<HBBHH", size, header_type, 0xC0, flags | bool(extended), 0)
    head += pack("<IIq", tid, pid, time) + provider
    head += pack("<HBBBBHQ", event_id, version, 0x10, 4, opcode, event_id, 0x8000_0000_0000_0010)
    return padded(head + bytes(24) + extended + payload)


def full_record(provider, opcode, payload=b"", *, version=0, pid=0, tid=0, time=ANCHOR, header_type=0x14):
    """EVENT_TRACE_HEADER, 48 bytes: its version's low byte is the opcode."""
    head = pack("<HBBBBH", 48 + len(payload), header_type, 0xC0, opcode, 4, version)
    return padded(head + pack("<IIq", tid, pid, time) + provider + bytes(8) + payload)


def system_record(hook, payload=b"", *, version=0, pid=0, tid=0, time=ANCHOR, header_type=0x02):
    """SYSTEM_TRACE_HEADER, 32 bytes, the last 8 being CPU times."""
    head = pack("<HBBHH", version, header_type, 0xC0, 32 + len(payload), hook)
    return padded(head + pack("<IIqII", tid, pid, time, 7, 9) + payload)


def compact_record(hook, payload=b"", *, version=0, pid=0, tid=0, time=ANCHOR, header_type=0x04):
    """As the one above without CPU times: 24 bytes."""
    head = pack("<HBBHH", version, header_type, 0xC0, 24 + len(payload), hook)
    return padded(head + pack("<IIq", tid, pid, time) + payload)


def perfinfo_record(hook, payload=b"", *, version=0, time=ANCHOR, header_type=0x11):
    """PERFINFO_TRACE_HEADER, 16 bytes: nothing about a thread."""
    head = pack("<HBBHH", version, header_type, 0xC0, 16 + len(payload), hook)
    return padded(head + pack("<q", time) + payload)


def extended_item(data, *, more=False, whole=None, data_size=None, item_type=7):
    """An item of an event's extended data, padded to 8 bytes."""
    whole = len(padded(bytes(8) + data)) if whole is None else whole
    data_size = len(data) if data_size is None else data_size
    return padded(pack("<HHHH", whole, item_type, more, data_size) + data)


def logfile_payload(
    *,
    pointer_size=8,
    clock=1,
    perf_freq=10_000_000,
    cpu_mhz=1000,
    buffer_size=4096,
    mode=0,
    buffers_written=1,
    events_lost=0,
    buffers_lost=0,
    start_time=START_TIME,
):
    """TRACE_LOGFILE_HEADER and the two empty names behind it."""
    tail_at = 0xF0 if pointer_size == 4 else 0xF8
    payload = bytearray(tail_at + 0x20 + 4)
    pack_into("<I", payload, 0x00, buffer_size)
    pack_into("<I", payload, 0x04, 0x0501_0A00)  # version 10.0
    pack_into("<I", payload, 0x08, 19045)  # build
    pack_into("<I", payload, 0x0C, 2)  # processors
    pack_into("<q", payload, 0x10, start_time + 600_000_000)  # end
    pack_into("<I", payload, 0x18, 156_250)  # timer resolution
    pack_into("<I", payload, 0x20, mode)
    pack_into("<I", payload, 0x24, buffers_written)
    pack_into("<I", payload, 0x28, 1)  # start buffers
    pack_into("<I", payload, 0x2C, pointer_size)
    pack_into("<I", payload, 0x30, events_lost)
    pack_into("<I", payload, 0x34, cpu_mhz)
    pack_into("<q", payload, tail_at, start_time - 36_000_000_000)  # boot
    pack_into("<q", payload, tail_at + 0x08, perf_freq)
    pack_into("<q", payload, tail_at + 0x10, start_time)
    pack_into("<I", payload, tail_at + 0x18, clock)
    pack_into("<I", payload, tail_at + 0x1C, buffers_lost)
    return bytes(payload)


def buffer_header(size, filled, *, cpu=0, logger_id=3, state=0, flags=0, kind=0):
    """WMI_BUFFER_HEADER, 0x48 bytes."""
    head = bytearray(0x48)
    pack_into("<I", head, 0x00, size)
    pack_into("<I", head, 0x04, filled)  # saved offset
    pack_into("<HH", head, 0x28, cpu, logger_id)
    pack_into("<I", head, 0x2C, state)
    pack_into("<I", head, 0x30, filled)
    pack_into("<HH", head, 0x34, flags, kind)
    return bytes(head)


def buffer(*records, size=4096, **header):
    """A whole plain buffer: its header, the records, then 0xFF as Windows leaves it."""
    body = b"".join(records)
    head = buffer_header(size, 0x48 + len(body), **header)
    return (head + body).ljust(size, b"\xff")


def compressed_buffer(data, decoded_size, **header):
    """A buffer whose body *data* should decompress to *decoded_size* bytes."""
    flags = header.pop("flags", 0) | 0x40
    return buffer_header(0x48 + len(data), 0x48 + decoded_size, flags=flags, **header) + data


def first_buffer(*records, size=4096, state=0, header_type=0x02, **logfile):
    """The buffer that begins a file: its first record is the logfile header."""
    return buffer(
        system_record(0, logfile_payload(**logfile), time=ANCHOR, header_type=header_type),
        *records,
        size=size,
        state=state,
        kind=4,
    )


def thread_start_payload(pid, tid, start_address=0x7FF7_0000_1000):
    """Kernel-Process 3 v1, 64-bit: Win32StartAddr at 48."""
    pointers = [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, start_address, 0xA6]
    return pack("<II7QI", pid, tid, *pointers, 0)


def thread_start(creator, pid, tid, *, time=ANCHOR, **record):
    """A whole ThreadStart record of Microsoft-Windows-Kernel-Process; *creator* is (pid, tid)."""
    return event_header_record(
        KERNEL_PROCESS,
        3,
        thread_start_payload(pid, tid),
        version=1,
        pid=creator[0],
        tid=creator[1],
        time=time,
        **record,
    )


def process_start(creator, pid, *, time=ANCHOR, version=0, image="a.exe", **record):
    """A whole ProcessStart record of Microsoft-Windows-Kernel-Process, laid out as its version 0."""
    payload = pack("<IQII", pid, 0, creator[0], 1) + utf16(image)
    return event_header_record(
        KERNEL_PROCESS, 1, payload, version=version, pid=creator[0], tid=creator[1], time=time, **record
    )
