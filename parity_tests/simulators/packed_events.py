"""Packs events and processes into the binary form that the simulated machine reads.

The layout is that of simetw/common/Protocol.h. Nothing here needs Windows: a test can pack events on any system
for another process to log.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.events import UNKNOWN_ID, ProcessRundown
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, PROCESS, THREAD, RawEvent
from etwdetect.sources.decode import system_trace
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import pack_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.sources.decode.layout import Value

NOW: Final = 0
"""A time that stands for the time of logging."""

INFORMATION: Final = 4
"""The level of all events of Microsoft-Windows-Kernel-Process."""

_EVENT: Final = Struct("<q16sQIIHHBBBBHHI")

_CHANNEL: Final = 1 << 63
"""The bit that a manifest's analytic channel adds to its keywords."""

_KEYWORDS: Final = {1: 0x10, 2: 0x10, 3: 0x20, 4: 0x20, 5: 0x40, 6: 0x40, 15: 0x10}
"""By event id of Microsoft-Windows-Kernel-Process: PROCESS, THREAD, IMAGE."""

_DC_START: Final = 3
_DC_END: Final = 4

_VERSIONS: Final = {PROCESS: 4, THREAD: 3, IMAGE: 3}
"""The event versions that Windows 10 and 11 write, by event class."""


class SimImage(NamedTuple):
    """An image mapped into a process."""

    base: int
    size: int
    name: str


class SimProcess(NamedTuple):
    """A process that exists on the machine. *threads* are thread ids with start addresses."""

    pid: int
    image: str
    parent_pid: int = 0
    session_id: int = 0
    create_time: int = 0
    command_line: str = ""
    threads: tuple[tuple[int, int], ...] = ()
    images: tuple[SimImage, ...] = ()


def pack_event(
    event: RawEvent, *, cpu: int = 0, level: int = INFORMATION, keyword: int | None = None, time: int | None = None
) -> bytes:
    """Return *event* packed, to be logged on *cpu*.

    Its stacks are extended items: of Microsoft-Windows-Kernel-Process, sessions get them that asked for stacks.
    *time* (FILETIME, or NOW) replaces the event's own. *keyword* defaults to that of the provider's manifest.
    """
    if keyword is None:
        known = event.provider == KERNEL_PROCESS and event.id in _KEYWORDS
        keyword = _CHANNEL | _KEYWORDS[event.id] if known else 0
    items = pack_items(event.stacks)
    return _EVENT.pack(
        event.time if time is None else time, event.provider, keyword, event.pid, event.tid, event.id, event.id,
        event.version, level, event.opcode, event.pointer_size, cpu, len(items) + len(event.payload), len(items),
    ) + items + event.payload  # fmt: skip


def pack_events(events: Iterable[RawEvent], *, cpus: Callable[[RawEvent], int] | None = None) -> bytes:
    """Return *events* packed in sequence; *cpus* returns the CPU of an event, by default 0."""
    if cpus is None:
        return b"".join([pack_event(event) for event in events])
    return b"".join([pack_event(event, cpu=cpus(event)) for event in events])


def capture_state(processes: Iterable[SimProcess]) -> list[RawEvent]:
    """Return the ProcessRundown events of Microsoft-Windows-Kernel-Process for *processes*."""
    return [
        encode(
            ProcessRundown(
                time=NOW,
                pid=process.pid,
                parent_pid=process.parent_pid,
                session_id=process.session_id,
                create_time=process.create_time,
                image=process.image,
            )
        )
        for process in processes
    ]


def session_start(processes: Iterable[SimProcess]) -> list[RawEvent]:
    """Return the rundown events of a system logger at the start of its session."""
    return [event for process in processes for event in _rundown(process, _DC_START)]


def session_end(processes: Iterable[SimProcess]) -> list[RawEvent]:
    """Return the rundown events of a system logger at the end of its session."""
    return [event for process in processes for event in _rundown(process, _DC_END)]


def _rundown(process: SimProcess, opcode: int) -> Iterator[RawEvent]:
    # Rundown events of processes and images have no creator; those of a thread have its own ids.
    process_values: dict[str, Value] = {
        "ProcessId": process.pid,
        "ParentId": process.parent_pid,
        "SessionId": process.session_id,
        "ImageFileName": process.image.rpartition("\\")[2],
        "CommandLine": process.command_line,
    }
    yield classic(PROCESS, opcode, process_values)
    for tid, start_address in process.threads:
        thread_values: dict[str, Value] = {
            "ProcessId": process.pid,
            "TThreadId": tid,
            "Win32StartAddr": start_address,
        }
        yield classic(THREAD, opcode, thread_values)._replace(pid=process.pid, tid=tid)
    for image in process.images:
        image_values: dict[str, Value] = {
            "ProcessId": process.pid,
            "ImageBase": image.base,
            "ImageSize": image.size,
            "DefaultBase": image.base,
            "ImageName": image.name,
        }
        yield classic(IMAGE, opcode, image_values)


def classic(provider: bytes, opcode: int, values: dict[str, Value]) -> RawEvent:
    """Return an event of the NT Kernel Logger with *values*, in the payload layout of Windows 10 and 11."""
    version = _VERSIONS[provider]
    payload = system_trace.EVENTS[provider][opcode].layouts[version].pack(8, values)
    return RawEvent(provider, 0, version, opcode, NOW, UNKNOWN_ID, UNKNOWN_ID, 8, payload)
