"""The rule over a fleet, beside one process in the same run: `python benchmarks/fleet.py [PART…]`.

Parts: rates (4 M events of 2,000 hosts: one process, batch, stream), cluster (the same on two worker processes),
burst (20,000 hosts with 10 events a trigger), memory (1 M and 20 M events). Every result is compared with the one
process's. Machines differ and are shared: what counts are the ratios. On 2 cores all of it takes half an hour.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parents[1]))

from etwdetect.fleet.columns import EVENTS
from etwdetect.fleet.detect import detect
from etwdetect.fleet.judge import CODES, SortedJudge
from etwdetect.fleet.run import Fleet
from etwdetect.fleet.spark import BLOCK_BYTES, UNCOUNTED_BLOCK_BYTES, session
from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA
from etwdetect.sources.eventdata.schema import Recording
from tests.fleet.histories import history, host_name, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTINCT: Final = 100
"""How many histories are made up; the other hosts have the same under other names."""
OWN: Final = 0.85
"""The share of threads that a process makes in itself: 0.7 to 0.9 in the real traces."""

Found = Counter[tuple[str, int]]


def make_lake(folder: Path, hosts: int, count: int, files: int = 8) -> int:
    """Write *hosts* histories of *count* events into *files*; return how many events."""
    folder.mkdir(parents=True)
    made = [
        pa.Table.from_pylist(rows(Recording("", "1"), history(seed, count, own=OWN)), ARROW_SCHEMA)
        for seed in range(min(hosts, DISTINCT))
    ]
    at = ARROW_SCHEMA.get_field_index("host")
    events = 0
    for file in range(files):
        with parquet.ParquetWriter(folder / f"{file}.parquet", ARROW_SCHEMA, compression="zstd") as writer:
            for number in range(file, hosts, files):
                table = made[number % len(made)]
                names = pa.array([host_name(number)] * table.num_rows)
                writer.write_table(table.set_column(at, ARROW_SCHEMA.field(at), names))
                events += table.num_rows
    return events


def in_one_process(folder: Path) -> Found:
    """Judge the lake, whose files have the rows in order, as Python alone does it."""
    judge = SortedJudge()
    found = (judge.judge(*row) for row in _rows(folder))
    return Counter((each[0], each[2].seq) for each in found if each is not None)


def _rows(folder: Path) -> Iterator[tuple[str, str, Any]]:
    names = [
        "host",
        "recording",
        "time",
        "kind",
        "seq",
        "creator_pid",
        "creator_tid",
        "pid",
        "tid",
        "start_address",
    ]
    others = sorted({name for _, *pair in CODES.values() for name in pair if name} - set(names))
    for path in sorted(folder.glob("*.parquet")):
        for batch in parquet.ParquetFile(path).iter_batches(columns=names + others):
            columns = {name: batch.column(name).to_pylist() for name in names + others}
            codes = [CODES[kind] for kind in columns["kind"]]
            values = zip(*(columns[name] for name in names), codes, range(len(codes)), strict=True)
            for row in values:
                host, recording, moment, _, seq, creator, thread, pid, tid, address, (code, one, two), at = row
                pair = creator, thread
                if one not in {"creator_pid", None}:
                    pair = columns[one][at], columns[two][at] if two else None
                yield hash((host, recording)), host, recording, (moment, code, seq, *pair, pid, tid, address)


def found_in(df: Any) -> Found:  # noqa: ANN401 (a DataFrame)
    return Counter((row["host"], row["seq"]) for row in df.where("fault is null").select("host", "seq").collect())


def timed(what: str, events: int, run: Any, expected: Found | None = None) -> Any:  # noqa: ANN401
    started = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - started
    exact = "" if expected is None else ("exact" if result == expected else "NOT EXACT")
    print(f"{what:44} {events:12,} events {seconds:8.1f} s {events / seconds:12,.0f}/s  {exact}", flush=True)
    return result


def spark_session(master: str, partitions: int | None = 8) -> Any:  # noqa: ANN401
    settings = {"spark.ui.showConsoleProgress": "false", BLOCK_BYTES: UNCOUNTED_BLOCK_BYTES}
    if partitions:
        settings["spark.sql.shuffle.partitions"] = str(partitions)
    return session(master, **settings)


def rates(work: Path, hosts: int = 2000, count: int = 2000) -> None:
    lake = work / "lake"
    events = make_lake(lake, hosts, count)
    expected = timed("one process", events, lambda: in_one_process(lake))
    spark = spark_session("local[2]")
    for run in ("first", "warm", "warm"):
        read = spark.read.schema(EVENTS).parquet(str(lake))
        timed(f"batch, {run}", events, lambda df=read: found_in(detect(df, buckets=8)), expected)
    stream(spark, lake, work, events)
    spark.stop()


def stream(spark: Any, lake: Path, work: Path, events: int) -> None:  # noqa: ANN401
    """Stream the lake by time, in 10 files; the first batches warm up."""
    source = work / "stream"
    table = parquet.read_table(lake, schema=ARROW_SCHEMA).sort_by("time")
    source.mkdir()
    step = table.num_rows // 10 + 1
    for number in range(10):
        path = source / f"{number}.parquet"
        parquet.write_table(table.slice(number * step, step), path)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    del table
    fleet = Fleet(
        [str(source)], str(work / "out"), formats=["parquet"], lateness="20 seconds", buckets=8, files_a_batch=1
    )
    query = fleet.start(spark, lambda _: None, once=True)
    timed("stream, 10 batches", events, query.awaitTermination)
    told = [dict(progress) for progress in query.recentProgress]
    steady = [each for each in told if each["numInputRows"]][4:]
    seconds = sum(each["batchDuration"] for each in steady) / 1000
    read = sum(each["numInputRows"] for each in steady)
    print(
        f"{'stream, batches 5 to 10':44} {read:12,} events {seconds:8.1f} s {read / seconds:12,.0f}/s", flush=True
    )


def cluster(work: Path, hosts: int = 2000, count: int = 2000) -> None:
    lake = work / "cluster"
    events = make_lake(lake, hosts, count)
    expected = in_one_process(lake)
    spark = spark_session("local-cluster[2,1,1024]")
    read = spark.read.schema(EVENTS).parquet(str(lake))
    timed("two worker processes", events, lambda: found_in(detect(read, buckets=8)), expected)
    spark.stop()


def burst(work: Path, hosts: int = 20_000, triggers: int = 6) -> None:
    source = work / "burst"
    source.mkdir()
    made = [rows(Recording("", "1"), history(seed, 10 * triggers + 60, own=OWN)[50:]) for seed in range(DISTINCT)]
    for number in range(triggers):
        some = [
            row | {"host": host_name(host)}
            for host in range(hosts)
            for row in made[host % DISTINCT][number * 10 : number * 10 + 10]
        ]
        path = source / f"{number}.parquet"
        parquet.write_table(pa.Table.from_pylist(some, ARROW_SCHEMA), path)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    spark = spark_session("local[2]", partitions=4)
    fleet = Fleet(
        [str(source)],
        str(work / "burst-out"),
        formats=["parquet"],
        lateness="2 seconds",
        buckets=16,
        files_a_batch=1,
    )
    query = fleet.start(spark, lambda _: None, once=True)
    query.awaitTermination()
    for each in map(dict, query.recentProgress):
        if each["numInputRows"]:
            seconds = each["batchDuration"] / 1000
            print(f"burst: {each['numInputRows']:10,} events of {hosts:,} hosts {seconds:8.1f} s", flush=True)
    spark.stop()


def memory(work: Path, sizes: tuple[int, ...] = (500, 10_000)) -> None:
    for hosts in sizes:
        lake = work / f"memory-{hosts}"
        events = make_lake(lake, hosts, 2000)
        expected = in_one_process(lake)
        spark = spark_session("local[2]", partitions=None)  # as many as Spark thinks right, as the command has it
        pid = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()  # noqa: SLF001
        read = spark.read.schema(EVENTS).parquet(str(lake))
        timed("batch", events, lambda df=read: found_in(detect(df)), expected)
        runtime = spark.sparkContext._jvm.java.lang.Runtime.getRuntime()  # noqa: SLF001
        runtime.gc()
        used = (runtime.totalMemory() - runtime.freeMemory()) >> 20
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) >> 10
        print(f"{'':44} {events:12,} events  JVM at most {peak:,} MiB, {used:,} MiB live at the end", flush=True)
        spark.stop()
        spark.sparkContext._gateway.shutdown()  # noqa: SLF001 (the next one begins with a JVM of its own)
        type(spark.sparkContext)._gateway = type(spark.sparkContext)._jvm = None  # noqa: SLF001


PARTS: Final = {"rates": rates, "cluster": cluster, "burst": burst, "memory": memory}


def main() -> None:
    for part in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder))


if __name__ == "__main__":
    main()
