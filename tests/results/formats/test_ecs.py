"""A detection in the Elastic Common Schema."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from etwdetect import __version__
from etwdetect.results import record
from etwdetect.results.formats import ecs
from tests.results.conftest import FULL, HOSTILE
from tests.results.test_record import detections


def test_the_source_is_the_process_and_the_target_stays_in_the_event_data():
    document = ecs.to_document(FULL)
    assert document["@timestamp"] == "2020-05-12T13:08:15.280Z"
    assert document["event"] == {
        "kind": "event",
        "category": ["process"],
        "type": ["change"],
        "action": ("CreateRemoteThread", "CreateRemoteThread detected (rule: CreateRemoteThread)"),
        "dataset": "etwdetect.remote_thread",
        "code": "8",
        "id": "f9c2061b65c05bc272c57035ff64b2cf",
        "provider": "etwdetect",
        "module": "etwdetect",
        "reason": "it starts at DbgUiRemoteBreakin",
        "severity": 2,
    }
    assert document["process"] == {
        "pid": 7392,
        "entity_id": "{39E4A257-E328-5F90-D310-000000000700}",
        "executable": "C:\\windbg.exe",
        "name": "windbg.exe",
        "command_line": '"windbg.exe" -p 8336',
        "args": ["windbg.exe", "-p", "8336"],
        "args_count": 3,
        "start": "2020-05-12T13:06:40.000Z",
        "parent": {
            "pid": 5000,
            "executable": "C:\\Windows\\explorer.exe",
            "name": "explorer.exe",
            "command_line": "explorer.exe",
        },
        "thread": {
            "id": 4788,
            "Ext": {
                "call_stack": [
                    {"symbol_info": "ntdll.dll!NtCreateThreadEx+0x14"},
                    {"symbol_info": "UNKNOWN(000001A2B3C4D5E6)"},
                ],
                "call_stack_summary": "ntdll.dll|Unbacked",
            },
        },
    }
    assert document["user"] == {"name": "mäx", "domain": "LAB"}
    assert document["winlog"] == {
        "event_data": {
            "TargetProcessGUID": "{39E4A257-0000-0000-0000-0}",
            "TargetProcessId": "8336",
            "TargetImage": "notepad.exe",
            "TargetUser": "S-1-5-18",
            "NewThreadId": "9384",
            "StartAddress": "0x00007FFC6E27D3F0",
            "StartModule": "C:\\Windows\\System32\\ntdll.dll",
            "StartFunction": "DbgUiRemoteBreakin",
        }
    }
    assert document["Target"]["process"]["thread"] == {
        "id": 9384,
        "Ext": {"start_address": 0x7FFC6E27D3F0, "start_address_module": "C:\\Windows\\System32\\ntdll.dll"},
    }
    assert document["Target"]["process"]["user"] == {"id": "S-1-5-18"}
    assert document["host"] == {"name": "WORKSTATION5", "os": OS}
    assert document["related"] == {"hosts": ["WORKSTATION5"], "user": ["mäx"]}
    assert document["rule"] == {
        "name": "Remote Thread Created; Another; rule",
        "id": ["99b97608-3e21-4bfe-8217-2a127c396a0e"],
        "reference": ["https://example.org/a"],
        "ruleset": "Sigma",
    }
    assert document["threat"] == {
        "framework": "MITRE ATT&CK",
        "tactic": {"id": ["TA0005"], "name": ["Defense Evasion"]},
        "technique": {"id": ["T1055"], "subtechnique": {"id": ["T1055.001"]}},
    }
    assert document["tags"] == ["attack.defense-evasion", "attack.t1055.001"]
    assert document["observer"]["version"] == __version__
    assert document["log"] == {"file": {"path": "traces.zip!a.etl"}}
    assert document["etwdetect"] == {
        "TraceSha256": "0123456789abcdef" * 4,
        "Detector": "etw",
        "Time": "132337624952800000",
        "StartModuleOffset": "0xCD3F0",
        "CallTrace": "C:\\Windows\\System32\\ntdll.dll+9d4c4|UNKNOWN(000001A2B3C4D5E6)",
        "CallKernel": "C:\\Windows\\System32\\ntoskrnl.exe+42fa00",
        "CallSummary": "ntdll.dll|Unbacked",
        "CallSymbols": "ntdll.dll!NtCreateThreadEx+0x14|UNKNOWN(000001A2B3C4D5E6)",
        "Container": "0f5fb4d8-0c1a-4f2b-9f6a-000000000001",
        "AssumedDrive": "C:=\\Device\\HarddiskVolume3",
        "Kind": "debugger break-in",
        "KindReason": "it starts at DbgUiRemoteBreakin",
        "Severity": "low",
        "RuleName": "technique_id=T1055",
        "PriorAccess": {"UtcTime": "2020-05-12 13:08:15.265", "GrantedAccess": "0x1FFFFF"},
        "AttackTechniques": ["T1055", "T1055.001"],
        "Sigma": ["Remote Thread Created", "Another; rule"],
        "SigmaLevel": "medium",
        "SigmaRules": record.to_dict(FULL)["SigmaRules"],
        "Count": 3,
        "LastTime": "132337624952900000",
        "Evidence": ["session-start", "events-lost:3"],
        "Absent": {"SourceUser": "not in the trace", "TargetUser": "not in the trace"},
        "SourceTerminalSessionId": 1,
        "TargetTerminalSessionId": 0,
    }


OS = {"type": "windows", "family": "windows", "platform": "windows", "name": "Windows"}


def numbers(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int):
        yield value


@given(detection=detections())
def test_no_number_is_larger_than_a_long_of_elasticsearch(detection):
    assert all(-(1 << 63) <= number < 1 << 63 for number in numbers(ecs.to_document(detection)))


def test_the_address_of_a_kernel_start_is_text_alone(detection):
    document = ecs.to_document(detection(start_address=18_446_735_287_739_849_000))
    assert "Ext" not in document["Target"]["process"]["thread"]
    assert document["winlog"]["event_data"]["StartAddress"] == "0xFFFFF8025B659928"


TEMPLATE = Path(__file__).parents[3] / "docs" / "reference" / "ecs-index-template.json"
FITS = {"long": int, "date": str, "keyword": str, "wildcard": str, "match_only_text": str}


def mismatches(value, mapping, path=""):
    """The places in a document that *mapping* rejects, or has no type for although they are no text."""
    type_ = mapping.get("type", "object")
    if isinstance(value, dict) and type_ == "object":
        for name, inner in value.items():
            known = mapping.get("properties", {}).get(name, {"type": "keyword"} if isinstance(inner, str) else {})
            yield from mismatches(inner, known, f"{path}.{name}")
    elif isinstance(value, list | tuple) and type_ != "flattened":
        for inner in value:
            yield from mismatches(inner, mapping or {"type": "keyword"}, path)
    elif type_ != "flattened" and not isinstance(value, FITS.get(type_, ())):
        yield path, value, type_


@pytest.mark.slow
@given(detection=detections())
def test_the_index_template_takes_every_document(detection):
    mappings = json.loads(TEMPLATE.read_text("utf-8"))["template"]["mappings"]
    for each in (FULL, detection):
        assert list(mismatches(ecs.to_document(each), mappings)) == []


def test_the_rules_of_elastic_for_remote_threads_find_it():
    """What their queries compare: of the rule for MSBuild, in Kuery and in EQL."""
    document = ecs.to_document(FULL)
    assert document["host"]["os"]["type"] == "windows"
    assert document["event"]["category"] == ["process"]
    assert "CreateRemoteThread detected (rule: CreateRemoteThread)" in document["event"]["action"]
    assert "CreateRemoteThread" in document["event"]["action"]
    assert (document["event"]["code"], document["event"]["dataset"]) == ("8", "etwdetect.remote_thread")


def test_what_is_not_known_is_absent(detection):
    document = ecs.to_document(detection())
    assert document["process"] == {"pid": 7392, "thread": {"id": 4788}}
    assert document["Target"] == {"process": {"pid": 8336, "thread": {"id": 9384}}}
    assert document["winlog"] == {"event_data": {"TargetProcessId": "8336", "NewThreadId": "9384"}}
    assert document["etwdetect"] == {"Detector": "etw", "Time": "132337624952800000"}
    assert document["host"] == {"os": OS}
    assert not {"user", "rule", "threat", "related", "tags"} & document.keys()
    assert "null" not in ecs.to_ecs(detection())


def test_a_start_time_that_no_calendar_has_is_absent(detection):
    made = detection()
    document = ecs.to_document(replace(made, source=replace(made.source, start_time=(1 << 64) - 1)))
    assert "start" not in document["process"]


def test_no_name_leaves_its_line(detection):
    line = ecs.to_ecs(detection(HOSTILE, HOSTILE))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["process"]["executable"] == HOSTILE
