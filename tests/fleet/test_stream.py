"""Streams on Spark: late and shuffled rows, restarts, and traces that arrive."""

import os
import random
import time

import pyarrow as pa
import pytest
from pyarrow import parquet

from etwdetect.core.events import ThreadStart
from etwdetect.fleet.run import Fleet
from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA
from etwdetect.sources.eventdata.schema import Recording
from tests.fleet.histories import SECOND, T0, history, host_name, rows, single_process
from tests.fleet.sparkling import collected, faults, found_only, threads
from tests.traces_by_writer import attack, write_trace

FAR = 10**6 * SECOND


def arrivals(hosts, count, files, lateness):
    """Return (batches of rows, the hits of one process): 5 % late by up to *lateness* seconds, all shuffled.

    A last batch, much later, has every host's clock move on, so that nothing is held back.
    """
    rng = random.Random(11)
    timed, expected, end = [], {}, T0
    for number in range(hosts):
        events = history(number, count)
        expected[host_name(number)] = single_process(events)
        last = ThreadStart(events[-1].time + FAR, 8, 1, 8, 2)
        for row in rows(Recording(host_name(number), "1"), [*events, last]):
            late = rng.randrange(lateness * SECOND) if rng.random() < 0.05 else 0
            timed.append((row["time"] + late, row))
        end = max(end, events[-1].time)
    step = (end - T0) // files + 1
    batches = [[] for _ in range(files + 1)]
    for arrived, row in timed:
        batches[min((arrived - T0) // step, files)].append(row)
    for batch in batches:
        rng.shuffle(batch)
    return batches, expected


def write_batches(folder, batches):
    """Write each batch as a file, one after the other in time."""
    folder.mkdir(exist_ok=True)
    for number, batch in enumerate(batches):
        path = folder / f"{number:04}.parquet"
        parquet.write_table(pa.Table.from_pylist(batch, ARROW_SCHEMA), path)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))


def run_once(fleet, spark):
    """Run the stream until all that is there is read; return what it told."""
    told = []
    query = fleet.start(spark, told.append, once=True)
    query.awaitTermination(300)
    assert query.exception() is None
    assert not query.isActive
    return told


def read(spark, folder):
    return collected(spark.read.parquet(str(folder))) if folder.exists() else []


def test_late_and_shuffled_rows_within_the_lateness_and_restarts_change_nothing(spark, tmp_path):
    batches, expected = arrivals(8, 300, 3, lateness=20)
    fleet = Fleet(
        [str(tmp_path / "in")],
        str(tmp_path / "out"),
        formats=["parquet"],
        lateness="20 seconds",
        buckets=2,
        files_a_batch=1,
    )
    for stop in (2, len(batches)):  # a restart between
        write_batches(tmp_path / "in", batches[:stop])
        run_once(fleet, spark)
    assert read(spark, tmp_path / "out" / "faults") == []
    assert threads(read(spark, tmp_path / "out" / "records")) == found_only(expected)
    assert sum(map(len, expected.values())) > 50


def test_a_row_that_comes_too_late_is_put_aside_and_a_bad_one_too(spark, tmp_path):
    row = rows(
        Recording("H", "1"), [ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2), ThreadStart(T0 + FAR, 8, 1, 8, 2)]
    )
    write_batches(tmp_path / "in", [[row[0], row[2]], [row[1], row[1] | {"pid": -1}]])
    fleet = Fleet([str(tmp_path / "in")], str(tmp_path / "out"), formats=["parquet"], buckets=1, files_a_batch=1)
    told = run_once(fleet, spark)
    late, bad = faults(read(spark, tmp_path / "out" / "faults"))
    assert late.startswith("came 999395.000 seconds later than rows of its recording may: ")
    assert bad == "has an invalid id"
    assert sum(each.faults for each in told) == 2
    assert not (tmp_path / "out" / "records").exists()


def test_a_silent_host_is_judged_to_its_end_when_nothing_more_comes(spark, tmp_path):
    write_batches(tmp_path / "in", [rows(Recording("H", "1"), [ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2)])])
    fleet = Fleet(
        [str(tmp_path / "in")], str(tmp_path / "out"), formats=["parquet"], lateness="2 seconds", buckets=1
    )
    told = []
    query = fleet.start(spark, told.append)
    deadline = time.monotonic() + 120
    while not any(each.records for each in told) and time.monotonic() < deadline and query.isActive:
        time.sleep(0.2)
    query.stop()
    assert sum(each.records for each in told) == 1


def test_traces_that_arrive_in_a_folder_are_read_once_each(spark, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    fleet = Fleet(
        [str(folder)],
        str(tmp_path / "out"),
        formats=["etl"],
        lateness="0 seconds",
        buckets=1,
        host="PC[0-9]",
        form="json",
        files_a_batch=1,
    )
    late = ThreadStart(T0 + FAR, 300, 1, 300, 2)
    for number in range(3):
        write_trace(folder / f"PC{number}.etl", [*attack(), late])
        if number == 1:
            (folder / "PC7.etl").write_bytes(b"no trace at all" * 10)
        run_once(fleet, spark)
    records = collected(spark.read.json(str(tmp_path / "out" / "records")))
    assert sorted(row["host"] for row in records) == ["PC0", "PC1", "PC2"]
    (fault,) = collected(spark.read.json(str(tmp_path / "out" / "faults")))
    assert fault["file"].endswith("PC7.etl")
    assert "is not a trace" in fault["fault"]


def test_a_stream_has_no_names(spark, tmp_path):
    from etwdetect.fleet.columns import EVENTS  # noqa: PLC0415
    from etwdetect.fleet.detect import detect  # noqa: PLC0415

    events = spark.readStream.schema(EVENTS).parquet(str(tmp_path))
    with pytest.raises(ValueError, match="names are not possible with a stream"):
        detect(events, names=True)
