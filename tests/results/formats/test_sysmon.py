"""The sysmon format beside the records of Sysmon itself."""

import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from etwdetect.core import filetime
from etwdetect.results.formats import sysmon
from etwdetect.sources.sysmon.shapes import event_in
from tests.results.conftest import FULL, HOSTILE

TWELVE = [
    "RuleName", "UtcTime", "SourceProcessGuid", "SourceProcessId", "SourceImage", "TargetProcessGuid",
    "TargetProcessId", "TargetImage", "NewThreadId", "StartAddress", "StartModule", "StartFunction",
]  # fmt: skip
USERS = ["SourceUser", "TargetUser"]
AROUND = {
    "EventID": 8,
    "Channel": "Microsoft-Windows-Sysmon/Operational",
    "Provider_Name": "etwdetect",
    "Computer": "WORKSTATION5",
}
ALL = [
    *TWELVE, *USERS
]  # fmt: skip


def test_what_is_known_stands_in_sysmons_order_and_form():
    assert json.loads(sysmon.to_sysmon(FULL)) == AROUND | {
        "RuleName": "technique_id=T1055; Remote Thread Created; Another; rule",
        "UtcTime": "2020-05-12 13:08:15.280",
        "SourceProcessGuid": "{39e4a257-e328-5f90-d310-000000000700}",
        "SourceProcessId": "7392",
        "SourceImage": "C:\\windbg.exe",
        "TargetProcessGuid": "{39e4a257-0000-0000-0000-0}",
        "TargetProcessId": "8336",
        "TargetImage": "notepad.exe",
        "NewThreadId": "9384",
        "StartAddress": "0x00007FFC6E27D3F0",
        "StartModule": "C:\\Windows\\System32\\ntdll.dll",
        "StartFunction": "DbgUiRemoteBreakin",
        "SourceUser": "LAB\\mäx",
        "TargetUser": "S-1-5-18",
    }
    assert list(sysmon.event_data(FULL)) == ALL


@pytest.mark.parametrize(
    ("rule_name", "sigma", "written"),
    [
        ("A; B", ("A", "B"), "A; B"),
        ("technique_id=T1055; A", ("B", "A", "C"), "technique_id=T1055; A; B; C"),
        ("one; two", ("one; two", "two; one"), "one; two; two; one"),
        ("A long name", ("A long", "name"), "A long name; A long; name"),
        ("own; own", ("A",), "own; own; A"),
        (None, ("A", "B", "A"), "A; B"),
    ],
)
def test_a_sigma_rule_that_the_rule_of_sysmon_names_is_not_named_again(rule_name, sigma, written):
    assert sysmon.event_data(replace(FULL, rule_name=rule_name, sigma=sigma))["RuleName"] == written


def test_what_is_not_known_is_what_sysmon_writes_for_it(detection):
    assert sysmon.event_data(detection()) == {
        "RuleName": "-",
        "UtcTime": "2020-05-12 13:08:15.280",
        "SourceProcessGuid": "{00000000-0000-0000-0000-000000000000}",
        "SourceProcessId": "7392",
        "SourceImage": "<unknown process>",
        "TargetProcessGuid": "{00000000-0000-0000-0000-000000000000}",
        "TargetProcessId": "8336",
        "TargetImage": "<unknown process>",
        "NewThreadId": "9384",
        "StartAddress": "-",
        "StartModule": "-",
        "StartFunction": "-",
        "SourceUser": "-",
        "TargetUser": "-",
    }
    assert list(sysmon.event_data(detection())) == ALL
    assert json.loads(sysmon.to_sysmon(detection()))["Computer"] == "-"


def test_a_reader_of_evtx_files_finds_the_same_data():
    event = json.loads(sysmon.to_sysmon_event(FULL))["Event"]
    assert {name: str(value) for name, value in event["EventData"].items()} == sysmon.event_data(FULL)
    assert event["EventData"]["SourceProcessId"] == 7392
    system = event["System"]
    assert (system["EventID"], system["Channel"], system["Computer"]) == (8, AROUND["Channel"], "WORKSTATION5")
    assert system["Provider_attributes"] == {"Name": "etwdetect"}
    assert system["TimeCreated_attributes"] == {"SystemTime": "2020-05-12T13:08:15.2800000Z"}


@pytest.mark.parametrize("write", [sysmon.to_sysmon, sysmon.to_sysmon_event])
def test_it_is_an_input_again(write):
    event = event_in(json.loads(write(FULL)))
    assert (event.event_id, event.host, event.is_of_sysmon) == (8, "WORKSTATION5", True)
    assert event.is_of_etwdetect
    assert event.data["TargetImage"] == "notepad.exe"


def test_a_32_bit_address_has_eight_digits(detection):
    assert sysmon.event_data(detection(start_address=0x77001ABC, pointer_size=4))["StartAddress"] == "0x77001ABC"


def test_no_name_leaves_its_line(detection):
    line = sysmon.to_sysmon(detection(HOSTILE, HOSTILE))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["SourceImage"] == HOSTILE


@pytest.fixture(scope="module")
def real_records(recordings):
    """The events 8 among the real ones."""
    records = []
    for path in sorted((recordings.parent / "sysmon").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(archive.namelist()[0]).decode("utf-8").splitlines()
        records += [
            record
            for record in map(json.loads, lines)
            if record["EventID"] == 8 and record["SourceName"] == "Microsoft-Windows-Sysmon"
        ]
    assert len(records) == 2
    return records


SHIPPERS = {"@timestamp", "SourceName", "Hostname", "Message"}
"""Names that the collector gave: Windows' names for the second and third are Provider and Computer."""
LOGS = {"EventID", "TimeCreated", "ProviderGuid", "Level", "Channel", "Task", "Keywords"}
"""What Windows' event log puts around the event's data, and no program."""


FORMS = {
    "UtcTime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}",
    "SourceProcessGuid": r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}",
    "SourceProcessId": r"\d+",
    "TargetProcessGuid": r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}",
    "TargetProcessId": r"\d+",
    "NewThreadId": r"\d+",
    "StartAddress": r"0x[0-9A-F]{16}",
}


def test_the_keys_their_order_and_their_formats_are_those_of_the_real_records(real_records, detection):
    for real in real_records:
        rendered = [line.partition(": ")[::2] for line in real["Message"].split("\r\n")[1:]]
        known = [(name, real[name]) for name, _ in rendered]
        assert known == rendered, "the message is what the record says, in Sysmon's order"
        assert set(real) - {name for name, _ in rendered} == SHIPPERS | LOGS
        ours = sysmon.event_data(as_detection(real, detection))
        assert list(ours.items()) == [*rendered, ("SourceUser", "-"), ("TargetUser", "-")], (
            "a detection of the same facts is the same record"
        )
        for each in (real, sysmon.event_data(detection(start_address=0xABC))):
            assert {type(each[name]) for name in TWELVE} == {str}
            for name, form in FORMS.items():
                assert re.fullmatch(form, each[name]), name


def as_detection(real, detection):
    time = filetime.from_datetime(datetime.strptime(real["UtcTime"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC))
    made = detection(
        real["SourceImage"],
        real["TargetImage"],
        time=time,
        creator_pid=int(real["SourceProcessId"]),
        pid=int(real["TargetProcessId"]),
        tid=int(real["NewThreadId"]),
        start_address=int(real["StartAddress"], 16),
    )
    known = {"-": None}
    return replace(
        made,
        source=replace(made.source, guid=real["SourceProcessGuid"].strip("{}")),
        target=replace(made.target, guid=real["TargetProcessGuid"].strip("{}")),
        start=replace(
            made.start,
            module=known.get(real["StartModule"], real["StartModule"]),
            function=known.get(real["StartFunction"], real["StartFunction"]),
        ),
    )
