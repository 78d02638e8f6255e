"""A remote thread as named fields, written and read back."""

import json
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Calls, Detection, FiredRule, Process, Start
from etwdetect.results import record
from etwdetect.results.fields import NAMES
from tests.results.conftest import FULL

LINE = (
    '{"SchemaVersion": 2, "RecordId": "f07c52478ff627003ac2033d97de4c13", "Detector": "etw",'
    ' "Time": "132337624952800000", "UtcTime": "2020-05-12 13:08:15.280", '
    '"SourceProcessId": 7392, "SourceThreadId": 4788, "TargetProcessId": 8336, "NewThreadId": 9384, "Evidence": '
    "[]}"
)
FULL_LINE = (
    '{"SchemaVersion": 2, "RecordId": "f9c2061b65c05bc272c57035ff64b2cf", "Detector": "etw",'
    ' "Computer": "WORKSTATION5", "Trace": "traces.zip!a.etl",'
    ' "TraceSha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",'
    ' "Time": "132337624952800000", "UtcTime": "2020-05-12 13:08:15.280",'
    ' "SourceProcessGuid": "{39E4A257-E328-5F90-D310-000000000700}",'
    ' "SourceProcessId": 7392, "SourceThreadId": 4788, "SourceImage": "C:\\\\windbg.exe",'
    ' "SourceCommandLine": "\\"windbg.exe\\" -p 8336", "SourceUser": "LAB\\\\m\\u00e4x",'
    ' "SourceTerminalSessionId": 1, "SourceStartTime": "132337624000000000", "SourceParentProcessId": 5000,'
    ' "SourceParentImage": "C:\\\\Windows\\\\explorer.exe", "SourceParentCommandLine": "explorer.exe",'
    ' "TargetProcessGuid": "{39E4A257-0000-0000-0000-0}", "TargetProcessId": 8336, "TargetImage": "notepad.exe",'
    ' "TargetCommandLine": "notepad", "TargetUser": "S-1-5-18", "TargetTerminalSessionId": 0,'
    ' "TargetStartTime": "0", "TargetParentProcessId": 0, "TargetParentImage": "parent.exe",'
    ' "TargetParentCommandLine": "", "NewThreadId": 9384, "StartAddress": "0x00007FFC6E27D3F0",'
    ' "StartModule": "C:\\\\Windows\\\\System32\\\\ntdll.dll", "StartModuleOffset": "0xCD3F0",'
    ' "StartFunction": "DbgUiRemoteBreakin",'
    ' "CallTrace": "C:\\\\Windows\\\\System32\\\\ntdll.dll+9d4c4|UNKNOWN(000001A2B3C4D5E6)",'
    ' "CallKernel": "C:\\\\Windows\\\\System32\\\\ntoskrnl.exe+42fa00",'
    ' "CallSummary": "ntdll.dll|Unbacked",'
    ' "CallSymbols": "ntdll.dll!NtCreateThreadEx+0x14|UNKNOWN(000001A2B3C4D5E6)",'
    ' "Container": "0f5fb4d8-0c1a-4f2b-9f6a-000000000001",'
    ' "AssumedDrive": "C:=\\\\Device\\\\HarddiskVolume3", "Kind": "debugger break-in",'
    ' "KindReason": "it starts at DbgUiRemoteBreakin", "Severity": "low",'
    ' "AttackTechniques": ["T1055", "T1055.001"],'
    ' "RuleName": "technique_id=T1055",'
    ' "PriorAccess": {"UtcTime": "2020-05-12 13:08:15.265", "GrantedAccess": "0x1FFFFF"},'
    ' "Sigma": ["Remote Thread Created", "Another; rule"], "SigmaLevel": "medium",'
    ' "SigmaRules": [{"Title": "Remote Thread Created", "Id": "99b97608-3e21-4bfe-8217-2a127c396a0e",'
    ' "Level": "medium", "Tags": ["attack.defense-evasion", "attack.t1055.001"],'
    ' "References": ["https://example.org/a"]}, {"Title": "Another; rule", "Level": "low"}],'
    ' "Count": 3, "LastTime": "132337624952900000",'
    ' "Evidence": ["session-start", "events-lost:3"],'
    ' "Absent": {"SourceUser": "not in the trace", "TargetUser": "not in the trace"}}'
)


VERSION_1 = re.sub(r'"SchemaVersion": 2, "RecordId": "[0-9a-f]{32}"', '"SchemaVersion": 1', FULL_LINE)
"""The same record as the first version wrote it."""


def test_what_is_not_known_is_absent(detection):
    assert record.to_json(detection()) == LINE


def test_what_is_known_has_the_names_of_sysmon_and_ours_in_one_order():
    assert record.to_json(FULL) == FULL_LINE
    assert tuple(record.to_dict(FULL)) == NAMES


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
    fields = record.to_dict(detection(start_address=address, pointer_size=pointer_size))
    assert fields["StartAddress"] == written


id_ = st.integers(0, 0xFFFFFFFF)
time_ = st.integers(0, 2_650_467_743_999_999_999)
wide = st.integers(0, (1 << 64) - 1)
text = st.text(st.characters(exclude_categories=()), max_size=20)


def processes(pid):
    return st.builds(
        Process,
        st.just(pid),
        *(st.none() | each for each in (text, text, id_, text, text, text, id_, wide, text)),
    )


rules = st.builds(FiredRule, text, text, text, st.lists(text).map(tuple), st.lists(text).map(tuple))

TEXTS = "host", "kind", "reason", "severity", "assumed_drive", "trace", "rule_name", "container"
"""The attributes of a detection that are any text."""


@st.composite
def detections(draw):
    address = draw(st.none() | wide)
    size = 8 if address is None else draw(st.sampled_from([4, 8]))
    if address is not None and size == 4:
        address %= 1 << 32
    thread = RemoteThread(draw(time_), *(draw(id_) for _ in range(4)), address, tuple(draw(st.lists(text))))
    return Detection(
        thread,
        draw(st.sampled_from(["etw", "driver"])),
        draw(processes(thread.creator_pid)),
        draw(processes(thread.pid)),
        calls=draw(st.builds(Calls, *[st.none() | text] * 4)),
        start=draw(st.builds(Start, st.none() | text, st.none() | wide, st.none() | text)),
        pointer_size=size,
        absent=tuple(draw(st.dictionaries(text, text, max_size=3)).items()),
        sigma=tuple(draw(st.lists(text, max_size=3))),
        sigma_rules=tuple(draw(st.lists(rules, max_size=3))),
        techniques=tuple(draw(st.lists(text, max_size=3))),
        count=draw(st.integers(1, 1 << 40)),
        last_time=draw(st.none() | time_),
        prior_access=tuple(draw(st.dictionaries(text, text, max_size=3)).items()),
        trace_sha256=draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
        **{name: draw(st.none() | text) for name in TEXTS},
    )


@given(detections())
def test_reading_back_gives_the_same_detection_and_writing_again_the_same_bytes(detection):
    line = record.to_json(detection)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    read = record.from_json(line)
    assert read == detection
    assert record.to_json(read) == line


def test_every_field_of_a_detection_is_drawn_and_written():
    drawn = set(record.to_dict(FULL))
    assert drawn == set(NAMES)
    for each in fields(Detection):
        assert getattr(FULL, each.name) != each.default or each.name in {"pointer_size", "saved"}, each.name
    for side in (FULL.source, FULL.target):
        assert all(getattr(side, each.name) is not None for each in fields(Process))


@given(detections(), st.randoms(use_true_random=False))
def test_order_and_white_space_do_not_matter_when_reading(detection, chance):
    shuffled = list(record.to_dict(detection).items())
    chance.shuffle(shuffled)
    line = json.dumps(dict(shuffled), ensure_ascii=False, indent=2)
    assert record.from_json(line) == detection


@pytest.mark.parametrize(
    "line", ["", "no", "[]", "1", "null", "{}", '"SchemaVersion"', "[" * 100_000, LINE[:-1], LINE + LINE]
)
def test_what_is_no_record_is_an_error(line):
    with pytest.raises(ValueError, match=r".+"):
        record.from_json(line)


WRONG = [
    ("SchemaVersion", 3),
    ("SchemaVersion", 0),
    ("SchemaVersion", True),
    ("SchemaVersion", "2"),
    ("RecordId", 1),
    ("RecordId", None),
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
    ("SourceProcessGuid", "39e4a257"),
    ("SourceProcessGuid", "{"),
    ("TargetTerminalSessionId", -1),
    ("TargetStartTime", 5),
    ("TargetStartTime", "18446744073709551616"),
    ("SourceParentProcessId", "4"),
    ("SourceCommandLine", 5),
    ("StartModule", []),
    ("StartModuleOffset", 5),
    ("StartModuleOffset", "0xcd3f0"),
    ("StartModuleOffset", "-0x1"),
    ("StartModuleOffset", "0x0CD3F0"),
    ("StartFunction", 1),
    ("Kind", {}),
    ("Severity", 3),
    ("Computer", False),
    ("Sigma", []),
    ("Sigma", "title"),
    ("Sigma", [1]),
    ("Count", 1),
    ("Count", 0),
    ("Count", "3"),
    ("Count", True),
    ("LastTime", 1),
    ("LastTime", "2650467744000000000"),
    ("RuleName", 1),
    ("PriorAccess", {}),
    ("PriorAccess", "0x1FFFFF"),
    ("Absent", {}),
    ("Absent", []),
    ("Absent", {"a": 1}),
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


@pytest.mark.parametrize("name", sorted(json.loads(LINE).keys() - {"RecordId"}))
def test_a_record_without_a_field_that_must_be_is_an_error(name):
    known = json.loads(FULL_LINE)
    del known[name]
    with pytest.raises(ValueError, match=name):
        record.from_json(json.dumps(known))


def test_a_record_of_a_newer_schema_is_refused_with_the_reason():
    newer = json.dumps({**json.loads(FULL_LINE), "SchemaVersion": 3, "Future": "field"})
    with pytest.raises(
        ValueError, match="schema version 3, which a newer etwdetect wrote; this one reads up to 2"
    ):
        record.from_json(newer)


def test_a_record_of_sysmon_can_lack_the_source_thread_and_no_other_can():
    known = {name: value for name, value in json.loads(LINE).items() if name != "SourceThreadId"}
    line = json.dumps({**known, "Detector": "sysmon"})
    read = record.from_json(line)
    assert (read.thread.creator_tid, record.to_json(read)) == (None, line)
    with pytest.raises(ValueError, match="SourceThreadId is missing"):
        record.from_json(json.dumps({**known, "Detector": "driver"}))


@pytest.mark.parametrize(
    "line",
    [
        VERSION_1,
        VERSION_1.replace('"Detector"', '"RecordId": "old", "Detector"'),
        FULL_LINE.replace("RecordId", "OtherId"),
        re.sub(r'(?<="RecordId": ")[0-9a-f]+', "of another tool", FULL_LINE),
        FULL_LINE.replace("{", '{"First": null, ', 1),
        FULL_LINE.replace('"Kind"', '"Trust": {"a": [1, 2.5, "\\u20ac"]}, "More": "[", "Kind"'),
        FULL_LINE[:-1] + ', "Last": ["x"], "": {}}',
        LINE.replace('"Evidence"', '"Kin": {"Kind": 1}, "Evidence"'),
        VERSION_1.replace('"Evidence"', '"Future": true, "Evidence"'),
    ],
)
def test_a_record_is_written_with_the_version_and_the_fields_it_was_read_with(line):
    read = record.from_json(line)
    assert record.to_json(read) == line
    folded = record.to_json(replace(read, count=7, last_time=132337624952900000))
    assert {**json.loads(folded), "Count": 0} == {**json.loads(line), "Count": 0, "LastTime": "132337624952900000"}


@given(
    detections(),
    st.lists(st.tuples(st.text().filter(lambda name: name not in NAMES), st.text() | st.integers()), max_size=3),
    st.data(),
)
def test_unknown_fields_keep_their_places(detection, unknown, data):
    fields = list(record.to_dict(detection).items())
    for each in dict(unknown).items():
        fields.insert(data.draw(st.integers(0, len(fields))), each)
    line = json.dumps(dict(fields))
    assert record.to_json(record.from_json(line)) == line


def test_unknown_fields_that_stand_twice_or_are_nested_too_deeply_are_errors():
    for unknown in ('"A": 1, "A": 1', '"A": {"b": 1, "b": 2}', f'"A": {"[" * 100_000}{"]" * 100_000}'):
        with pytest.raises(ValueError, match=r"twice|nested too deeply"):
            record.from_json(FULL_LINE.replace("{", f"{{{unknown}, ", 1))


def test_the_record_id_differs_with_host_time_ids_and_detector_and_nothing_else():
    def id_of(detection):
        return record.to_dict(detection)["RecordId"]

    assert id_of(replace(FULL, kind="other", sigma=(), count=1, source=Process(7392))) == id_of(FULL)
    others = [replace(FULL, host="OTHER"), replace(FULL, detector="driver")]
    names = ("time", "creator_pid", "creator_tid", "pid", "tid")
    others += [replace(FULL, thread=FULL.thread._replace(**{name: 5})) for name in names]
    assert len({id_of(each) for each in (FULL, *others)}) == 8


@pytest.mark.parametrize(("count", "written"), [(1, None), (2, 2)])
def test_a_count_is_written_from_two_on(detection, count, written):
    assert record.to_dict(replace(detection(), count=count)).get("Count") == written


def test_a_field_that_stands_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        record.from_json(LINE.replace('"Detector"', '"Detector": "driver", "Detector"'))


def test_what_is_wrong_is_told_in_a_few_words_however_long_it_is():
    with pytest.raises(ValueError, match="SourceImage") as caught:
        record.from_json(json.dumps({**json.loads(FULL_LINE), "SourceImage": ["x" * 100_000] * 1000}))
    assert len(str(caught.value)) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("0x10"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4))
def test_any_values_are_a_record_that_can_be_written_or_an_error(changes):
    try:
        detection = record.from_json(json.dumps({**json.loads(FULL_LINE), **changes}))
    except ValueError:
        return
    assert record.from_json(record.to_json(detection)) == detection
