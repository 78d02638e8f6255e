"""Traces that tests write with the project's own writer."""

from etwdetect.core.events import ProcessRundown, ProcessStart, ThreadStart
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter

START = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC."""
SECOND = 10_000_000


def write_trace(path, events, cpus=1, **options):
    """Write *events* to a trace at *path*, the CPUs taking turns."""
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START, cpus=cpus, **options)) as writer:
        for number, event in enumerate(events):
            writer.write(encode(event), cpu=number % cpus)
    return path


def attack(time=START + 10 * SECOND, source="evil.exe", target="victim.exe"):
    """Two listed processes, and a thread that the first makes in the second."""
    return [
        ProcessRundown(START + 1, 100, create_time=START - 60 * SECOND, image=source),
        ProcessRundown(START + 1, 200, create_time=START - 60 * SECOND, image=target),
        ThreadStart(time, 100, 101, 200, 201, 0x7FFC12345678),
    ]


def program_start(time, pid, tid, creator=(100, 101), image="a.exe"):
    return [
        ProcessStart(time, *creator, pid, creator[0], 1, time, image=image),
        ThreadStart(time, *creator, pid, tid),
    ]
