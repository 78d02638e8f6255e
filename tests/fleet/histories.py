"""Made-up histories of hosts: programs that come and go, ids that are used again, remote threads, and losses."""

from __future__ import annotations

import random

import pyarrow as pa
from pyarrow import parquet

from etwdetect.core.events import (
    UNKNOWN_ID,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.order import order_of
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, to_row

T0 = 132_337_152_000_000_000
SECOND = 10_000_000


def history(seed, count, *, own=0.75):  # noqa: C901 (one branch a kind of event)
    """Return the events of one host in order, about *count*; *own* of them are threads of a process in itself.

    A few starts of processes and of first threads are missing, some of them told as losses.
    """
    rng = random.Random(seed)
    time = T0
    alive = [4, *range(8, 8 + 4 * 60, 4)]
    free = list(range(300, 300 + 4 * 200, 4))
    events = [
        ProcessRundown(T0 + 10 + at, pid, create_time=T0 - 60 * SECOND) for at, pid in enumerate(alive[1:40])
    ]
    events += [ThreadRundown(T0 + 90, pid, pid + 1) for pid in alive[40:50]]
    while len(events) < count:
        time += rng.randrange(1, 3 * SECOND // 10) if rng.random() < 0.9 else 0
        chance = rng.random()
        creator, target = rng.choice(alive), rng.choice(alive)
        tid = rng.randrange(1, 1 << 16) * 4
        if chance < own:
            events.append(ThreadStart(time, target, tid + 1, target, tid, 0x7FF0_0000_0000 + tid))
        elif chance < own + 0.06 and free:
            pid = free.pop(rng.randrange(len(free)))
            if rng.random() > 0.02:
                events.append(ProcessStart(time, creator, tid, pid, creator))
            if rng.random() > 0.02:
                gap = rng.choice((0, 5, 500, SECOND // 100))
                maker = creator if rng.random() > 0.05 else rng.choice((4, UNKNOWN_ID, pid))
                events.append(ThreadStart(time + gap, maker, tid, pid, tid + 4, 0x7FF6_0000_1000))
            alive.append(pid)
        elif chance < own + 0.12 and len(alive) > 50:
            pid = alive.pop(rng.randrange(1, len(alive)))
            if rng.random() > 0.03:
                events.append(ProcessStop(time, pid))
            free.append(pid)
        elif chance < own + 0.14:
            events.append(ThreadStart(time, 4, 8, target, tid, None))
        elif chance < own + 0.15 and rng.random() < 0.05:
            events.append(Loss(time, rng.randrange(3), rng.randrange(2)))
        elif chance > 1 - (1 - own) * 0.2:
            events.append(ThreadStart(time, creator, tid + 1, target, tid, 0x7FFC_0000_0000 + tid))
    return sorted(events, key=order_of)


def single_process(events, start_time=T0):
    """Return the remote threads that the rule finds in one process."""
    rule = RemoteThreadRule(session_start=start_time)
    return [hit for hit in map(rule.observe, events) if hit]


def rows(recording, events, start_time=T0):
    """Return the rows of a recording."""
    start = RecordingStart(start_time, start_time)
    return [to_row(recording, seq, event) for seq, event in enumerate((start, *events))]


def host_name(number):
    return f"HOST-{number:05}"


def write_lake(path, hosts, count, *, files=4, seed=0, own=0.75):
    """Write histories of *hosts* hosts into Parquet *files*; return the rule's hits by host."""
    path.mkdir(parents=True)
    expected = {}
    for file in range(files):
        with parquet.ParquetWriter(path / f"part-{file}.parquet", ARROW_SCHEMA) as writer:
            for number in range(file, hosts, files):
                events = history(seed * 1_000_003 + number, count, own=own)
                name = host_name(number)
                expected[name] = single_process(events)
                table = pa.Table.from_pylist(rows(Recording(name, "1"), events), ARROW_SCHEMA)
                writer.write_table(table)
    return expected
