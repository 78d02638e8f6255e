"""Makes the large traces that the benchmarks read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import (
    SYSTEM_PID,
    ImageLoad,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.raw import IMAGE, RawEvent
from etwdetect.sources.decode import system_trace
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.buffers import HEADER_SIZE
from etwdetect.sources.etl.compression import XPRESS
from etwdetect.sources.etl.writer import SYSTEM64, TraceOptions, TraceWriter

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.core.events import Event

START: Final = 132_337_152_000_000_000
BUFFER: Final = 65536
GIB: Final = 1 << 30
_LIBRARIES: Final = 0x7FF8_0000_0000
"""Where images are mapped, 2 MiB each."""


def noise_record(chance: random.Random, time: int) -> bytes:
    """Return a record that nobody wants: a file, disk or scheduler event as the kernel logs it."""
    hook = chance.choice((0x0F2E, 0x0F2E, 0x0524, 0x0532, 0x010A, 0x0F42, 0x061B))
    body = chance.randbytes(chance.choice((16, 24, 24, 32, 48, 64)))
    size = 16 + len(body)
    head = (2).to_bytes(2, "little") + b"\x11\xc0" + size.to_bytes(2, "little") + hook.to_bytes(2, "little")
    return head + time.to_bytes(8, "little") + body


def noise_blocks(count: int) -> list[bytes]:
    """Return the records of *count* different buffers of noise."""
    chance = random.Random(1)
    room = BUFFER - HEADER_SIZE
    blocks = []
    for _ in range(count):
        block = bytearray()
        while len(block) < room - 512:
            record = noise_record(chance, (1 << 40) + len(block))
            block += record + bytes(-len(record) % 8)
        blocks.append(bytes(block))
    return blocks


def noise(path: Path, size: int = GIB, cpus: int = 8) -> None:
    """Write a plain trace of *size* bytes: mixed noise, and one thread start in each third buffer.

    Buffers of noise are made once and repeated: what is measured does not look at their content.
    """
    options = TraceOptions(START, cpus=cpus, buffer_size=BUFFER)
    blocks = noise_blocks(64)
    with path.open("w+b") as file, TraceWriter(file, options) as writer:
        for number in range(size // BUFFER):
            cpu = number % cpus
            # A whole block goes in as one piece: to the walk it is as many records as it holds.
            writer.write_record(blocks[number % len(blocks)], cpu)
            if number % 3 == 0:
                writer.write(encode(ThreadStart(START + number * 1000, 900, 904, 900, 5000 + number)), cpu)
            writer.flush(cpu)


def starts(path: Path, size: int = GIB, cpus: int = 8) -> None:
    """Write a plain trace of *size* bytes of nothing but process starts, thread starts and exits."""
    options = TraceOptions(START, cpus=cpus, buffer_size=BUFFER)
    image = "\\Device\\HarddiskVolume3\\Windows\\System32\\svchost.exe"
    written, number = 0, 0
    with path.open("w+b") as file, TraceWriter(file, options) as writer:
        while written < size:
            pid, time = 1000 + number % 30_000 * 4, START + number * 100
            cpu = number % cpus
            for event in (
                ProcessStart(time, 900, 904, pid, 900, 1, time, image=image),
                ThreadStart(time + 10, 900, 904, pid, pid + 1, 0x7FF000),
                *(ThreadStart(time + 20 + each, pid, pid + 1, pid, pid + 2) for each in range(8)),
                ProcessStop(time + 90, pid),
            ):
                raw = encode(event)
                writer.write(raw, cpu)
                written += 84 + len(raw.payload)
            number += 1


def recording(path: Path, events: int = 76_000, cpus: int = 8, method: int = XPRESS) -> None:
    """Write what `etwdetect record` finds on Windows 11: threads that start and end, images, some processes."""
    chance = random.Random(3)
    folder = "\\Device\\HarddiskVolume3\\Windows\\System32\\"
    pids, alive, time = range(1000, 2200, 4), [(1000, 9)], START
    made: list[Event] = [
        ProcessRundown(time, pid, 900, 1, START - 10**9, image=f"{folder}svc{pid}.exe") for pid in pids
    ]
    while len(made) < events:
        time, pid, kind = time + chance.randrange(1, 8000), chance.choice(pids), chance.random()
        if kind < 0.40:
            alive.append((pid, 10_000 + 4 * len(made)))
            creator = pid if chance.random() < 0.8 else SYSTEM_PID
            made.append(ThreadStart(time, creator, 9, *alive[-1], _LIBRARIES + 0x1234))
        elif kind < 0.75 and alive:
            made.append(ThreadStop(time, *alive.pop(chance.randrange(len(alive)))))
        elif kind < 0.98:
            number = chance.randrange(200)
            made.append(
                ImageLoad(time, pid, _LIBRARIES + (number << 21), 1 << 20, 1, 2, f"{folder}lib{number}.dll")
            )
        elif kind < 0.99:
            short = chance.randrange(8000, 20_000, 4)
            made += (
                ProcessStart(time, 900, 8, short, 900, 1, time, image=f"{folder}cmd.exe"),
                ThreadStart(time + 5, 900, 8, short, short + 1, 1),
                ProcessStop(time + 300_000, short, create_time=time, image="cmd.exe"),
            )
    options = TraceOptions(START, cpus=cpus, buffer_size=BUFFER, method=method)
    with path.open("w+b") as file, TraceWriter(file, options) as writer:
        for number, event in enumerate(made):
            writer.write(encode(event), number % cpus)


def images(path: Path, remote: int, count: int = 65_536, cpus: int = 8) -> None:
    """Write 8 MiB of noise, 600 processes that map *count* images, and *remote* remote threads between them."""
    folder = "\\Device\\HarddiskVolume3\\Windows\\System32\\"
    pids = range(4000, 4000 + 600 * 4, 4)
    layout = system_trace.EVENTS[IMAGE][10].layouts[2]
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START, cpus=cpus, buffer_size=BUFFER)) as writer:
        for number, block in enumerate(noise_blocks(16) * 8):
            writer.write_record(block, number % cpus)
            writer.flush(number % cpus)
        for number, pid in enumerate(pids):
            time = START + number * 1000
            writer.write(encode(ProcessStart(time, 900, 904, pid, 900, 1, time, image=f"{folder}{pid}.exe")))
            writer.write(encode(ThreadStart(time + 1, 900, 904, pid, pid + 1, 0x7FF000)))
        for number in range(count):
            time, pid = START + 600_000 + number * 10, pids[number % len(pids)]
            base, name = _LIBRARIES + (number // len(pids) << 21), f"{folder}library{number // len(pids)}.dll"
            values = {"ProcessId": pid, "ImageBase": base, "ImageSize": 1 << 20, "ImageName": name}
            event = RawEvent(IMAGE, 0, 2, 10, time, pid, pid + 1, 8, layout.pack(8, values))
            writer.write(event, number % cpus, header_type=SYSTEM64)
        for number in range(remote):
            time = START + 20_000_000 + number * 1000
            source, target = pids[number * 3 % len(pids)], pids[(number * 7 + 1) % len(pids)]
            start = _LIBRARIES + (number % 100 << 21) + 0x1234
            writer.write(encode(ThreadStart(time, source, source + 1, target, 90_000 + number, start)))
