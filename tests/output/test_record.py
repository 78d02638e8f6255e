"""A remote thread as named fields, written and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich.detection import Detection, Process
from etwdetect.output import record
from etwdetect.rule import RemoteThread

LINE = (
    '{"SchemaVersion": 1, "Detector": "etw", "Time": "132337624952800000", "UtcTime": "2020-05-12 13:08:15.280", '
    '"SourceProcessId": 7392, "SourceThreadId": 4788, "TargetProcessId": 8336, "NewThreadId": 9384, "Evidence": '
    "[]}"
)
FULL_LINE = (
    '{"SchemaVersion": 1, "Detector": "etw", "Time": "132337624952800000", "UtcTime": "2020-05-12 13:08:15.280", '
    '"SourceProcessId": 7392, "SourceThreadId": 4788, "SourceImage": "C:\\\\windbg.exe", "TargetProcessId": 8336, '
    '"TargetImage": "n\\u00f6tepad.exe", "NewThreadId": 9384, "StartAddress": "0x00007FF700001000", '
    '"Evidence": ["session-start", "events-lost:3"]}'
)


def test_what_is_not_known_is_absent(detection):
    assert record.to_json(detection()) == LINE


def test_what_is_known_has_the_names_of_sysmon_and_ours_in_one_order(detection):
    full = detection(
        "C:\\windbg.exe",
        "nötepad.exe",
        start_address=0x7FF7_0000_1000,
        evidence=("session-start", "events-lost:3"),
    )
    assert record.to_json(full) == FULL_LINE
    assert tuple(record.fields(full)) == record.FIELDS


@pytest.mark.parametrize(
    ("address", "pointer_size", "written"),
    [
        (0, 8, "0x0000000000000000"),
        (0xFFFF_8000_0000_0ABC, 8, "0xFFFF800000000ABC"),
        (0x7700_1ABC, 4, "0x77001ABC"),
        (0, 4, "0x00000000"),
        (0xFFFF_FFFF, 4, "0xFFFFFFFF"),
        (0x1_0000_0000, 4, "0x0000000100000000"),
    ],
)
def test_an_address_has_the_digits_of_its_machine(detection, address, pointer_size, written):
    fields = record.fields(detection(start_address=address, pointer_size=pointer_size))
    assert fields["StartAddress"] == written


id_ = st.integers(0, 0xFFFFFFFF)
names = st.none() | st.text(st.characters(exclude_categories=()), max_size=20)
detections = st.builds(
    lambda size, thread, address, detector, source, target: Detection(
        thread._replace(start_address=address if address is None else address % (1 << 8 * size)),
        detector,
        Process(thread.creator_pid, source),
        Process(thread.pid, target),
        pointer_size=size,
    ),
    st.sampled_from([4, 8]),
    st.builds(
        RemoteThread,
        st.integers(0, 2_650_467_743_999_999_999),
        id_,
        id_,
        id_,
        id_,
        evidence=st.lists(st.sampled_from(["session-start", "events-lost:7", "table-overflow"])).map(tuple),
    ),
    st.none() | st.integers(0, (1 << 64) - 1),
    st.sampled_from(["etw", "driver"]),
    names,
    names,
)


@given(detections)
def test_reading_back_and_writing_again_is_byte_identical(detection):
    line = record.to_json(detection)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    read = record.from_json(line)
    assert record.to_json(read) == line
    assert (read.thread, read.detector) == (detection.thread, detection.detector)
    assert read.pointer_size == (8 if detection.thread.start_address is None else detection.pointer_size)
    assert (read.source.image, read.target.image) == (detection.source.image, detection.target.image)


@pytest.mark.parametrize(
    "line", ["", "no", "[]", "1", "null", "{}", '"SchemaVersion"', "[" * 100_000, LINE[:-1], LINE + LINE]
)
def test_what_is_no_record_is_an_error(line):
    with pytest.raises(ValueError, match=r".+"):
        record.from_json(line)


WRONG = [
    ("SchemaVersion", 2),
    ("SchemaVersion", "1"),
    ("Detector", "eye"),
    ("Detector", None),
    ("Time", None),
    ("Time", "soon"),
    ("Time", "-1"),
    ("Time", "2650467744000000000"),
    ("Time", float("inf")),
    ("Time", 132337624952800000),
    ("Time", " 132337624952800000"),
    ("SourceProcessId", -1),
    ("SourceProcessId", 1 << 32),
    ("SourceThreadId", "4788"),
    ("TargetProcessId", None),
    ("TargetProcessId", True),
    ("NewThreadId", 1.5),
    ("StartAddress", "here"),
    ("StartAddress", 5),
    ("StartAddress", "-0x5"),
    ("StartAddress", "0x" + "F" * 17),
    ("SourceImage", 5),
    ("TargetImage", ["a.exe"]),
    ("Evidence", "session-start"),
    ("Evidence", None),
    ("Evidence", [1]),
    ("UtcTime", "yesterday"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_record_with_a_field_that_cannot_be_is_an_error(name, value):
    known = json.loads(FULL_LINE)
    with pytest.raises(ValueError, match=r".+"):
        record.from_json(json.dumps({**known, name: value}))


@pytest.mark.parametrize(
    "name", [name for name in record.FIELDS if name not in {"SourceImage", "TargetImage", "StartAddress"}]
)
def test_a_record_without_a_field_that_must_be_is_an_error(name):
    known = json.loads(FULL_LINE)
    del known[name]
    with pytest.raises(ValueError, match=name):
        record.from_json(json.dumps(known))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("0x10"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(record.FIELDS), json_values, max_size=4))
def test_any_values_are_a_record_that_can_be_written_or_an_error(changes):
    try:
        detection = record.from_json(json.dumps({**json.loads(FULL_LINE), **changes}))
    except ValueError:
        return
    assert record.from_json(record.to_json(detection)) == detection


def test_the_cells_of_a_table_row_stand_under_the_fields_and_are_empty_where_nothing_is_known(detection):
    assert record.cells(detection()) == [
        "1", "etw", "132337624952800000", "2020-05-12 13:08:15.280", "7392", "4788", "", "8336", "", "9384", "", ""
    ]  # fmt: skip


def test_the_cells_of_a_table_row_hold_no_formula_and_no_second_line(detection):
    row = record.cells(detection("=1+1", "a\nb", start_address=0x10, evidence=("session-start", "events-lost:3")))
    assert (row[6], row[8], row[10]) == ("'=1+1", "a\\nb", "0x0000000000000010")
    assert row[11] == "session-start events-lost:3"
