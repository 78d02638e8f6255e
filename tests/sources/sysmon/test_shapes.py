"""The same events in the shapes of all collectors give the same records."""

import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core import filetime
from etwdetect.core.sysmon import SysmonAccess, SysmonImage, SysmonNotice, SysmonProcess, SysmonStart, SysmonThread
from etwdetect.sources.sysmon import RecordingForm, is_of_sysmon, recording_form
from etwdetect.sources.sysmon.recording import SysmonFile
from etwdetect.sources.sysmon.shapes import events_in
from tests.sources.sysmon.events import (
    ACCESS,
    FORMS,
    MUTATIONS,
    SHAPES,
    START,
    THREAD,
    exported,
    flat,
    hunt,
    lines,
    many,
    reader,
    winlogbeat,
    xml,
)

NOTICE = {"UtcTime": "2020-10-22 01:40:50.000", "State": "Started"}
EVENTS = ((4, NOTICE), (1, START), (10, ACCESS), (8, THREAD), (3, {"UtcTime": "2020-10-22 01:40:57.000"}))


def read(data):
    file = SysmonFile(io.BytesIO(data), recording_form(data[:65_536]))
    return list(file.records()), file


def time(text):
    (thread,), _ = read(lines(flat(8, {**THREAD, "UtcTime": text})))
    return thread.time


SOURCE = SysmonProcess(
    3224, "39E4A257-E328-5F90-D310-000000000700", "C:\\Windows\\System32\\mavinject.exe", "LAB\\mäx"
)
TARGET = SysmonProcess(
    3440, "39E4A257-E321-5F90-D210-000000000700", "C:\\Windows\\System32\\notepad.exe", "LAB\\<b>"
)


def check(records):
    notice, start, access, thread = records
    assert thread == SysmonThread(
        132478044564580000,
        "WS5",
        SOURCE,
        TARGET,
        10204,
        0x7FFB9285E540,
        8,
        "C:\\Windows\\System32\\KERNEL32.DLL",
        "LoadLibraryW",
        "technique_id=T1055",
    )
    assert isinstance(access, SysmonAccess)
    assert (access.source, access.granted) == (SOURCE._replace(user=None), "0x1438")
    assert isinstance(start, SysmonStart)
    assert (start.process, start.session_id, start.parent.pid) == (SOURCE, 2, 3904)
    assert isinstance(notice, SysmonNotice)
    assert notice.text == "Started"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_shape_of_json_is_recognised_and_read(shape, form):
    data = many([shape(*each) for each in EVENTS], form)
    assert recording_form(data) is RecordingForm.JSON
    records, file = read(data)
    check(records)
    assert (file.faults, file.events) == (0, 4)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "<?xml version='1.0'?><Events>{}</Events>",
        "<root>\n{}</root>",
        "<!-- by hand --><Events>{}</Events>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><Events>{}</Events>",
        "Record 1\n<?xml version='1.0'?>\n{}",
    ],
)
def test_xml_is_recognised_and_read(around, encoding):
    data = around.format("\n".join(xml(*each) for each in EVENTS)).encode(encoding)
    assert recording_form(data) is RecordingForm.XML
    records, file = read(data)
    check(records)
    assert file.faults == 0


def test_what_the_sysmon_format_writes_is_read_again():
    (thread,), _ = read(lines(THREAD))
    assert (thread.source, thread.target, thread.host) == (SOURCE, TARGET, None)


@pytest.mark.parametrize("missing", ["", "-", None])
def test_what_sysmon_does_not_know_is_absent(missing):
    known = {
        **THREAD,
        "StartModule": missing,
        "StartFunction": missing,
        "RuleName": missing,
        "SourceUser": missing,
    }
    unknown = {"SourceImage": "<unknown process>", "SourceProcessGuid": "{00000000-0000-0000-0000-000000000000}"}
    (thread,), _ = read(lines(flat(8, {**known, **unknown})))
    assert (thread.start_module, thread.start_function, thread.rule_name) == (None, None, None)
    assert thread.source == SysmonProcess(3224)


@pytest.mark.parametrize(
    ("address", "known", "size"),
    [
        ("0x02060000", 0x2060000, 4),
        ("0x0000023FAD900000", 0x23FAD900000, 8),
        (33947648, 33947648, 8),
        ("-", None, 8),
    ],
)
def test_the_digits_of_an_address_tell_the_machine(address, known, size):
    (thread,), _ = read(lines(flat(8, {**THREAD, "StartAddress": address})))
    assert (thread.start_address, thread.pointer_size) == (known, size)


@pytest.mark.parametrize("pid", [3224, "3224", 3224.0])
def test_ids_are_numbers_or_text(pid):
    (thread,), _ = read(lines(flat(8, {**THREAD, "SourceProcessId": pid})))
    assert thread.source.pid == 3224


def test_times_have_milliseconds():
    assert time("2019-07-03 20:39:30.129") == 132066599701290000
    assert filetime.full_time(filetime.utc(time("2019-07-03 20:39:30.129"))) == "2019-07-03 20:39:30.129"


WRONG = [
    ("SourceProcessId", -1),
    ("SourceProcessId", "4294967296"),
    ("SourceProcessId", [1]),
    ("SourceProcessId", True),
    ("SourceProcessId", None),
    ("TargetProcessId", "9" * 5000),
    ("NewThreadId", "x"),
    ("NewThreadId", None),
    ("NewThreadId", 1.5),
    ("StartAddress", "0x" + "F" * 17),
    ("StartAddress", {}),
    ("UtcTime", "yesterday"),
    ("UtcTime", None),
    ("UtcTime", "0001-01-01 00:00:00"),
    ("SourceImage", ["a"]),
    ("StartModule", {"a": 1}),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_that_sysmon_cannot_have_written_is_told_with_its_place_and_costs_its_event_alone(name, value):
    wrong = flat(8, THREAD) | {name: value}
    records, file = read(lines(flat(8, THREAD), wrong, flat(8, THREAD)))
    assert (len(records), file.faults) == (2, 1)
    assert file.described[0].startswith("line 2: ")
    assert name in file.described[0]
    assert len(file.described[0]) < 200


def test_an_event_without_a_field_that_must_be_there_is_told():
    without = {name: value for name, value in THREAD.items() if name != "NewThreadId"}
    _, file = read(lines(flat(8, without)))
    assert file.described == ["line 1: event 8 has no NewThreadId"]


def test_events_of_other_providers_are_passed_over_whatever_their_id():
    other = {**flat(8, THREAD), "SourceName": "Microsoft-Windows-Security-Auditing", "Channel": "Security"}
    assert read(lines(other, flat(8, THREAD)))[0] == read(lines(flat(8, THREAD)))[0]


def test_damaged_documents_cost_themselves_in_lines_and_what_follows_in_an_array():
    good = json.dumps(flat(8, THREAD))
    records, file = read(f"{good}\n{good[:50]}\n\n[1]\n{good}\n".encode())
    assert (len(records), file.faults) == (2, 1)
    assert file.described[0].startswith("line 2: not valid JSON")
    records, file = read(f"[{good}, {good[:50]}, {good}]".encode())
    assert (len(records), file.faults) == (1, 1)
    assert "document 2: not valid JSON" in file.described[0]
    records, file = read((xml(8, THREAD) + xml(8, THREAD).replace("</System>", "") + xml(8, THREAD)[:-9]).encode())
    assert (len(records), file.faults) == (1, 2)


@pytest.mark.parametrize(
    "document",
    [
        {"hits": {"hits": [exported(*each) for each in EVENTS]}},
        {"results": [flat(*each) for each in EVENTS]},
        {"documents": [hunt(*each)["document"] for each in EVENTS]},
        [[reader(*each) for each in EVENTS]],
    ],
    ids=["Elasticsearch", "Splunk", "chainsaw", "lists"],
)
def test_all_events_of_a_list_in_a_document_are_read_in_their_order(document):
    data = json.dumps(document).encode()
    assert recording_form(data) is RecordingForm.JSON
    check(read(data)[0])


def test_what_a_pipeline_moved_out_of_the_data_is_found_with_dots_in_the_names_too():
    document = {
        "winlog.event_id": "7",
        "winlog.channel": "Microsoft-Windows-Sysmon/Operational",
        "@timestamp": "2020-10-22T01:40:56.458Z",
        "process.entity_id": "{39E4A257-E328-5F90-D310-000000000700}",
        "process.pid": 3224,
        "process.executable": "C:\\Windows\\System32\\mavinject.exe",
        "user.domain": "LAB",
        "user.name": "mäx",
        "file.path": "C:\\Windows\\System32\\ntdll.dll",
    }
    (image,), _ = read(lines(document))
    assert image == SysmonImage(132478044564580000, None, SOURCE, "C:\\Windows\\System32\\ntdll.dll")


def test_what_the_data_has_itself_goes_before_what_a_pipeline_may_have_moved():
    document = winlogbeat(8, THREAD) | {"process": {"pid": 1, "executable": "a"}, "rule": {"name": "b"}}
    assert read(lines(document))[0] == read(lines(winlogbeat(8, THREAD)))[0]


ONE, OVER_LINES = json.dumps(flat(8, THREAD)), json.dumps(reader(8, THREAD), indent=2)


@pytest.mark.parametrize(
    "text",
    [
        ONE + ONE,
        f"{ONE} {ONE}\n",
        f"{ONE},\n{ONE}",
        f"{ONE}\n{OVER_LINES}",
        f"{OVER_LINES}\n{ONE}",
        '{ "Event": {' + OVER_LINES.partition('{\n  "Event": {')[2] + ONE,
    ],
    ids=["together", "a space between", "a comma", "then over lines", "then a line", "begins with two braces"],
)
def test_documents_of_json_may_stand_in_any_way_after_each_other(text):
    assert recording_form(text.encode()) is RecordingForm.JSON
    records, file = read(text.encode())
    assert (len(records), file.faults) == (2, 0)


@pytest.mark.parametrize("document", [ONE, OVER_LINES], ids=["a line", "over lines"])
def test_a_document_that_breaks_off_anywhere_costs_itself_alone(document):
    for length in range(1, len(document)):
        records, file = read(f"{document}\n{document[:length]}\n{document}\n{document}".encode())
        assert (len(records), file.faults) == (3, 1), document[:length]


def test_a_fault_over_several_lines_says_where_reading_goes_on():
    _, file = read(f"{ONE}\n{OVER_LINES[:200]}\n{ONE}".encode())
    assert file.described[0].endswith(f": reading goes on in line {OVER_LINES[:200].count(chr(10)) + 3}")


def test_what_seems_to_hold_all_that_follows_is_not_tried_again_for_each_line():
    _, file = read((ONE + "\n" + '{"a":\n' * 100_000).encode())
    assert 0 < file.faults < 10_000


def test_nothing_is_expanded_that_a_document_type_defines():
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]>' + xml(8, THREAD).replace("notepad", "&b;")
    records, file = read(bomb.encode())
    assert (records, file.faults) == ([], 1)


def test_what_is_longer_than_an_event_can_be_is_not_kept(monkeypatch):
    monkeypatch.setattr("etwdetect.sources.sysmon.text.MAX_EVENT", 100_000)
    long = {**THREAD, "SourceImage": "x" * 300_000}
    records, file = read(lines(flat(8, long), flat(8, THREAD)))
    assert (len(records), file.described) == (1, ["line 1: it is longer than 8,388,608 characters"])
    for data in (json.dumps([flat(8, long)]), xml(8, long)):
        records, file = read(data.encode())
        assert (records, file.faults) == ([], 1)


def test_a_recording_is_recognised_by_content_alone():
    assert recording_form(b"ElfFile\0" + bytes(100)) is RecordingForm.EVTX
    for data in (
        b"",
        b"\0" * 100,
        b"{}",
        b'{"a": 1}',
        b"<html><Event>",
        b"<root><Event/></root>",
        b"Record 1\n",
        b"<Event xmlns=''>" * 1000,
        b" " * 65_536,
        b"[ " * 32_768,
        b"\x00\x10\x00\x00<root>" + xml(8, THREAD).encode(),
        b"\x00\x10\x00\x00" + lines(flat(8, THREAD)),
    ):
        assert recording_form(data) is None
    assert is_of_sysmon(lines(flat(8, THREAD)))
    assert not is_of_sysmon(lines({"EventID": 8}))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(SHAPES), st.dictionaries(st.sampled_from([*THREAD, "Extra"]), values, max_size=4))
def test_any_values_are_a_record_or_a_fault(shape, changes):
    records, file = read(lines(shape(8, {**THREAD, **changes})))
    assert len(records) + file.faults <= 1


def mutated(data, chance, most=8):
    data = bytearray(data)
    for _ in range(chance.randint(1, most)):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 40)]
            case 2:
                data[place:place] = data[chance.randrange(len(data)) :][: chance.randint(1, 60)]
            case 3:
                data[place] ^= 1 << chance.randrange(8)
        if not data:
            return b"{"
    return bytes(data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_mutations_give_records_or_faults_and_no_other_error(shape, form):
    check_mutations(many([shape(*each) for each in EVENTS], form), f"{shape.__name__} {form}")


def test_mutations_of_xml_do_too():
    check_mutations("".join(xml(*each) for each in EVENTS).encode(), "xml")


def check_mutations(whole, seed):
    chance, kind = random.Random(seed), recording_form(whole)
    assert kind is not None
    for _ in range(MUTATIONS):
        file = SysmonFile(io.BytesIO(mutated(whole, chance)), kind)
        assert len(list(file.records())) <= 2 * len(EVENTS)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_what_a_collector_hands_on_names_etwdetect_only_where_etwdetect_wrote_it(shape):
    (event,) = events_in(shape(8, THREAD))
    assert not event.is_of_etwdetect
