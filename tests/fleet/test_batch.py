"""Batches on Spark give the very records of one process."""

import random
import re
from dataclasses import replace

import pytest

from etwdetect.core.events import Loss, ProcessStart, ProcessStop, ThreadRundown, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.fleet.columns import EVENTS, RESULTS
from etwdetect.fleet.detect import detect
from etwdetect.fleet.results import record_of
from etwdetect.fleet.run import Fleet
from etwdetect.fleet.source import register
from etwdetect.fleet.spark import BLOCK_BYTES, MOST_BLOCK_BYTES, UNCOUNTED_BLOCK_BYTES
from etwdetect.offline import Scan
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.eventdata.schema import Recording
from tests.fleet.histories import SECOND, T0, history, host_name, rows, single_process, write_lake
from tests.fleet.sparkling import collected, faults, found_only, frame, known, threads
from tests.traces_by_writer import attack, write_trace


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_java_compiles_what_spark_makes_of_the_check_of_a_row(spark, tmp_path, form):
    write_lake(tmp_path / "lake", 1, 50, files=1) if form == "parquet" else (tmp_path / "e.jsonl").write_text("")
    adaptive = spark.conf.get("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.adaptive.enabled", "false")  # which would make the code later
    try:
        plan = detect(Fleet([str(tmp_path)], "")._read(spark, stream=False), buckets=1)._jdf.queryExecution()
        code = spark._jvm.PythonSQLUtils.explainString(plan, "codegen")
    finally:
        spark.conf.set("spark.sql.adaptive.enabled", adaptive)
    sizes = [int(size) for size in re.findall(r"maxMethodCodeSize:(\d+)", code)]
    assert sizes
    assert max(sizes) < 8000


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_a_lake_of_many_hosts_gives_the_records_of_one_process_for_each(spark, tmp_path, form):
    expected = write_lake(tmp_path / "lake", 25, 1200)
    events = spark.read.parquet(str(tmp_path / "lake"))
    if form == "json":
        events.repartition(3).write.json(str(tmp_path / "json"))  # the rows of a host are spread and out of order
        events = spark.read.schema(EVENTS).json(str(tmp_path / "json"))
    assert threads(collected(detect(events, buckets=3))) == found_only(expected)
    assert sum(map(len, expected.values())) > 400


def test_where_ids_are_used_again_and_again_no_own_thread_is_left_out_that_would_change_anything(spark):
    rng = random.Random(5)
    pids = (0, 4, 8, 12, 16, 0xFFFFFFFF)
    rows_of_all, expected = [], {}
    for number in range(40):
        events = []
        for time in sorted(rng.randrange(T0, T0 + 40) for _ in range(150)):
            pid, creator = rng.choice(pids), rng.choice(pids)
            maker = pid if rng.random() < 0.5 else creator
            kinds = {
                "start": ProcessStart(time, creator, 1, pid),
                "stop": ProcessStop(time, pid),
                "thread": ThreadStart(time, maker, 1, pid, rng.randrange(9)),
                "loss": Loss(time, 1),
            }
            events.append(kinds[rng.choices(list(kinds), (3, 2, 12, 0.1))[0]])
        events.sort(key=order_of)
        expected[host_name(number)] = single_process(events)
        rows_of_all += rows(Recording(host_name(number), "1"), events)
    rng.shuffle(rows_of_all)
    assert threads(collected(detect(frame(spark, rows_of_all), buckets=2))) == found_only(expected)


def test_rows_that_make_no_sense_are_faults_and_cost_nothing_else(spark):
    good = rows(Recording("H", "1"), [ThreadStart(T0 + 60 * SECOND, 10, 1, 20, 2, 0xFFFF_FFFF_FFFF_FFFF)])
    bad = [
        good[1] | {"seq": 2, "schema_version": 9},
        good[1] | {"seq": 3, "kind": "Thunder"},
        good[1] | {"seq": 4, "pid": None},
        good[1] | {"seq": 5, "tid": 1 << 32},
        good[1] | {"seq": 6, "time": T0 + 61 * SECOND, "start_address": "there"},
        good[1] | {"seq": 7, "time": None},
        good[1] | {"seq": -8},
        good[0] | {"recording": "2", "pointer_size": 7},
        good[1] | {"seq": 10, "host": "H" * 5000},
        {**good[1], "seq": 11, "kind": "Loss", "events": -1},
        {"host": "H"},
    ]
    for names in (False, True):
        results = collected(detect(frame(spark, good + bad), buckets=1, names=names))
        assert [row["NewThreadId"] for row in results if not row["fault"]] == [2]
        told = [
            fault.replace("start_address: 'there' is not", "has a start_address that is not")
            for fault in faults(results)
        ]
        assert sorted(told) == [
            "has a host of more than 4,096 bytes",
            "has a number below zero",
            "has a number below zero",
            "has a start_address that is not an address such as 0x7FFC0000",
            "has an invalid id",
            "has an invalid pointer_size",
            "has no kind",
            "has no time",
            "has the schema version 9",
            "is of the unknown kind Thunder",
            "lacks one of creator_pid, creator_tid, pid, tid",
        ]


def test_a_loss_may_leave_out_how_many_buffers(spark):
    events = [Loss(T0 + 1, 3), ThreadStart(T0 + 60 * SECOND, 10, 1, 20, 2)]
    events = rows(Recording("H", "1"), events)
    events[1]["buffers"] = None
    for names in (False, True):
        (hit,) = detect(frame(spark, events), buckets=1, names=names).collect()
        assert (hit["NewThreadId"], hit["Evidence"]) == (2, ["events-lost:3"])


def test_of_a_value_that_makes_no_sense_only_its_beginning_is_told(spark):
    (row,) = rows(Recording("H" * 5000, "1"), [])
    (fault,) = detect(frame(spark, [row | {"host": "H", "kind": "K" * 9999}]), buckets=1).collect()
    assert fault["fault"] == "is of the unknown kind " + "K" * 200
    (fault,) = detect(frame(spark, [row]), buckets=1).collect()
    assert fault["host"] == "H" * 1024


def test_what_comes_out_has_the_columns_of_results_and_the_host_may_have_another_name(spark):
    events = frame(spark, rows(Recording("H", "1"), [ThreadStart(T0, 10, 1, 20, 2)]))
    results = detect(events.withColumnRenamed("host", "box"), host="box", buckets=1)
    assert results.schema.names == RESULTS.names
    assert [row["host"] for row in results.collect()] == ["H"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"lateness": "soon"}, "'soon' is not a duration such as"),
        ({"lateness": "5 lightyears"}, "'5 lightyears' is not a duration such as"),
        ({"buckets": 0}, "buckets must be at least 1, not 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(spark, arguments, fault):
    with pytest.raises(ValueError, match=fault):
        detect(frame(spark, []), **arguments)


@pytest.mark.parametrize(("names", "most"), [(True, MOST_BLOCK_BYTES), (False, UNCOUNTED_BLOCK_BYTES)])
def test_only_rows_that_are_short_go_to_python_without_a_count_of_their_bytes(spark, tmp_path, names, most):
    write_lake(tmp_path / "lake", 1, 50, files=1)
    Fleet([str(tmp_path / "lake")], str(tmp_path / "out"), names=names).run(spark)
    assert spark.conf.get(BLOCK_BYTES) == most


# -- traces


def scanned(paths):
    """Return the records of a scan of *paths*."""
    records = []
    for found in (found for path in paths for found in find_inputs(path)):
        with found.open() as trace:
            found_here = (replace(each, trace=found.name) for each in Scan([trace]).detections())
            records += [known(record_of(detection)) for detection in found_here]
    return sorted(records)


def records(results):
    return sorted(known(row) for row in results if not row["fault"])


def test_real_traces_give_the_very_records_of_their_scans_with_names_and_those_without(spark, recordings):
    register(spark)
    events = spark.read.format("etl").load(str(recordings))
    full, plain = (
        sorted(
            collected(detect(events, names=names, buckets=2)), key=lambda row: (row["recording"], row["seq"] or 0)
        )
        for names in (True, False)
    )
    assert records(full) == scanned([recordings])
    assert len(records(full)) == 3
    for one, other in zip(full, plain, strict=True):
        same = {name: value for name, value in other.items() if value is not None and name != "RecordId"}
        assert {name: one[name] for name in same} == same  # the id has the host in it


def test_made_up_hosts_give_the_very_records_of_their_scans_with_names(spark, tmp_path):
    paths = [tmp_path / f"PC{number}.etl" for number in range(4)]
    for number, path in enumerate(paths):
        events = [event for event in history(number, 700) if not isinstance(event, Loss | ThreadRundown)]
        write_trace(path, events, cpus=3)
    paths.append(write_trace(tmp_path / "evil.etl", attack(source="C:\\\udc80\x1b.exe")))
    register(spark)
    results = collected(detect(spark.read.format("etl").load(str(tmp_path)), names=True, buckets=2))
    # Where a history has lost the exit of a process, its next first thread may be remote, and that is told.
    assert [fault for fault in faults(results) if " is first only because " not in fault] == []
    assert records(results) == scanned(paths)
    assert {row["SourceImage"] for row in results if "evil" in row["host"]} == {"C:\\\\udc80\x1b.exe"}


def test_the_host_is_found_in_the_path_and_a_broken_trace_is_a_row_with_file_and_offset(spark, tmp_path):
    folder = tmp_path / "host=PC7"
    folder.mkdir()
    path = write_trace(folder / "a.etl", attack())
    (folder / "cut.etl").write_bytes(path.read_bytes()[:-1000])
    (folder / "none.etl").write_bytes(b"no trace at all" * 10)
    (folder / "bad.zip").write_bytes(b"PK\x03\x04 and more")
    register(spark)
    events = spark.read.format("etl").option("host", "host=([^/]+)").load(str(tmp_path))
    results = collected(detect(events, buckets=1))
    assert {(row["host"], row["TargetProcessId"]) for row in results if not row["fault"]} == {("PC7", 200)}
    told = {row["file"].rpartition("/")[2]: (row["offset"], row["fault"]) for row in results if row["fault"]}
    assert set(told) == {"cut.etl", "none.etl", "bad.zip"}
    assert told["cut.etl"][0] is not None
    assert "is not a trace" in told["none.etl"][1]
    assert "is a .zip that cannot be read" in told["bad.zip"][1]
