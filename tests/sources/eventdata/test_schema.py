"""The rows of events: what is written is read back, and nothing else is taken for a row."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core import events
from etwdetect.core.events import (
    MOST_FRAMES,
    Event,
    ImageLoad,
    Loss,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.sources.eventdata.schema import (
    COLUMNS,
    KINDS,
    SCHEMA_VERSION,
    EventRow,
    Recording,
    RecordingStart,
    from_row,
    to_row,
)

HERE = Recording("HOST1", "7")
ROW = to_row(HERE, 0, ThreadStart(10, 1, 2, 3, 4, 5))

IDS = st.integers(0, 0xFFFFFFFF)
U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(codec=None, categories=None))
"""Any text: also NULs, and surrogates without their other half."""
VALUES = {
    "time": st.integers(0, LAST_FILETIME),
    "start_time": st.integers(0, LAST_FILETIME),
    "create_time": U64,
    "size": U64,
    "base": U64,
    "start_address": U64,
    "sid": st.binary(max_size=68),
    "image": TEXT,
    "command_line": TEXT,
    "rundown": st.booleans(),
    "device": TEXT,
    "path": TEXT,
    "name": TEXT,
    "container": TEXT,
    "creator_key": U64,
    "sequence": U64,
    "trace": TEXT,
    "trace_sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
    "pointer_size": st.sampled_from((4, 8)),
    "kernel_frames": st.lists(U64, max_size=MOST_FRAMES).map(tuple),
    "user_frames": st.lists(U64, max_size=MOST_FRAMES).map(tuple),
    "no_kernel": TEXT,
    "no_user": TEXT,
}


def any_event(kind):
    fields = {
        name: VALUES.get(name, IDS) | (st.none() if kind._field_defaults.get(name, 0) is None else st.nothing())
        for name in kind._fields
    }
    return st.builds(kind, **fields)


@given(st.sampled_from(list(KINDS.values())).flatmap(any_event), TEXT, TEXT, st.integers(0, 2**62))
def test_every_event_is_read_back_as_it_was_written(event, host, name, seq):
    recording = Recording(host, name)
    assert from_row(to_row(recording, seq, event)) == EventRow(recording, seq, event)


def test_every_event_but_a_threads_exit_has_a_row():
    assert set(KINDS.values()) == {*Event.__args__, RecordingStart} - {ThreadStop}


def test_every_field_of_every_event_has_a_column():
    names = {column.name for column in COLUMNS}
    assert {field for kind in KINDS.values() for field in kind._fields} <= names


def test_what_is_not_known_is_absent():
    assert "start_address" not in to_row(HERE, 0, ThreadStart(10, 1, 2, 3, 4))


def test_columns_stand_in_their_order():
    order = [column.name for column in COLUMNS]
    row = to_row(HERE, 0, ProcessStart(10, 1, 2, 3, 4, 5, 6, b"\1", "a.exe", "a"))
    assert list(row) == [name for name in order if name in row]


@given(TEXT)
def test_names_are_written_as_unicode_that_parquet_takes(image):
    to_row(HERE, 0, ImageLoad(1, 2, 3, 4, image=image))["image"].encode("utf-8")


def test_columns_that_are_not_known_are_passed_over():
    assert from_row({**ROW, "ProcessMachine": 34404}) == from_row(ROW)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "has the schema version 3: a newer etwdetect can read it"),
        ({"schema_version": "x"}, "has the schema version 'x'"),
        ({"kind": "Thunder"}, "is of the unknown kind 'Thunder'"),
        ({"kind": ["ThreadStart"]}, "is of the unknown kind"),
        ({"pid": None}, "has no pid"),
        ({"pid": True}, "pid: True is not a number from 0 to 4294967295"),
        ({"pid": -1}, "pid: -1 is not a number from 0 to 4294967295"),
        ({"pid": 1 << 32}, "pid: 4294967296 is not a number from 0 to 4294967295"),
        ({"pid": 3.0}, "pid: 3.0 is not a number from 0 to 4294967295"),
        ({"time": 1 << 63}, "time: "),
        ({"time": LAST_FILETIME + 1}, "time: 2650467744000000000 is not a FILETIME before the year 10000"),
        ({"time": -1}, "time: -1 is not a FILETIME before the year 10000"),
        ({"kind": "RecordingStart", "start_time": -1}, "start_time: -1 is not a FILETIME"),
        ({"host": "x" * 163_836}, "host: is longer than 163,835 characters"),
        ({"seq": None}, "has no seq"),
        ({"host": 7}, "host: 7 is not a string"),
        ({"kind": "RecordingStart", "start_time": 1, "pointer_size": 7}, "pointer_size: 7 is not 4 or 8"),
        ({"start_address": "7FFC"}, "start_address: '7FFC' is not an address such as 0x7FFC0000"),
        ({"start_address": "0x1_0"}, "start_address: "),
        ({"start_address": "0x" + "F" * 17}, "start_address: "),
    ],
)
def test_what_is_wrong_with_a_row_is_told(change, fault):
    with pytest.raises(ValueError, match=re.escape(fault)):
        from_row({**ROW, **change})


def test_a_sid_that_is_no_hex_and_a_truth_that_is_none_are_told():
    start = to_row(HERE, 0, ProcessStart(1, 2, 3, 4, sid=b"\1"))
    with pytest.raises(ValueError, match="sid: "):
        from_row({**start, "sid": "S-1-5-18"})
    with pytest.raises(ValueError, match="rundown: 1 is not true or false"):
        from_row({**to_row(HERE, 0, ImageLoad(1, 2, 3, 4)), "rundown": 1})


def test_the_kinds_are_named_as_the_records():
    assert all(getattr(events, name, RecordingStart) is kind for name, kind in KINDS.items())
    assert KINDS["Loss"] is Loss


def test_a_row_from_before_start_keys_and_sequence_numbers_is_read():
    row = {"schema_version": 1, "host": "PC7", "recording": "a", "seq": 9, "time": 10, "pid": 3}
    thread = row | {"kind": "ThreadStart", "creator_pid": 1, "creator_tid": 2, "tid": 4}
    assert from_row(thread).event == ThreadStart(10, 1, 2, 3, 4)
    assert from_row(row | {"kind": "ProcessStop"}).event == ProcessStop(10, 3)
    assert to_row(HERE, 0, ThreadStart(10, 1, 2, 3, 4, creator_key=2**64 - 1))["creator_key"] == -1
