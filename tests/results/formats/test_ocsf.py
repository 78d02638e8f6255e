"""A detection in OCSF, held against the schemas that OCSF publishes."""

import functools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from etwdetect.results.formats import ocsf
from tests.results.conftest import FULL, HOSTILE
from tests.results.test_record import detections

# Wine 8 lacks a DLL that one of its dependencies needs.
jsonschema = pytest.importorskip("jsonschema", exc_type=ImportError)
published = pytest.importorskip("ocsf_json_schema")

VERSIONS = [ocsf.OCSF_VERSION]


@functools.cache
def schema(version):
    """The validator of the class process_activity in a version of OCSF."""
    made = published.OcsfJsonSchemaEmbedded(published.get_ocsf_schema(version)).get_class_schema(
        "process_activity", profiles=["security_control"]
    )
    return jsonschema.Draft202012Validator(made)


in_every_version = pytest.mark.parametrize("version", VERSIONS)


@in_every_version
def test_this_test_sees_what_is_wrong(version):
    wrong = ocsf.to_event(FULL)
    assert not schema(version).is_valid({**wrong, "severity_id": 50})
    assert not schema(version).is_valid({**wrong, "surplus": 1})
    assert not schema(version).is_valid({**wrong, "process": {"name": "a.exe"}})


@in_every_version
def test_all_that_can_be_known_is_valid(version):
    schema(version).validate(ocsf.to_event(FULL))


@in_every_version
def test_the_least_that_can_be_known_is_valid(version, detection):
    schema(version).validate(ocsf.to_event(detection()))
    schema(version).validate(
        ocsf.to_event(replace(detection(), detector="driver", severity="a word of the user's"))
    )


@in_every_version
@settings(max_examples=30)
@given(detection=detections())
def test_whatever_is_known_is_valid(version, detection):
    schema(version).validate(json.loads(ocsf.to_ocsf(detection)))


def test_what_is_known_stands_where_ocsf_has_it():
    event = ocsf.to_event(FULL)
    assert (event["class_uid"], event["activity_id"], event["type_uid"]) == (1007, 4, 100704)
    assert event["injection_type_id"] == 1
    assert (event["time"], event["end_time"], event["count"]) == (1589288895280, 1589288895290, 3)
    assert (event["severity_id"], event["severity"]) == (2, "Low")
    assert event["actor"]["process"]["ptid"] == 4788
    assert event["actor"]["process"]["user"] == {"name": "mäx", "domain": "LAB"}
    assert event["process"]["ptid"] == 9384
    assert event["process"]["user"] == {"uid": "S-1-5-18"}
    assert event["process"]["session"] == {"uid": "0"}
    assert event["process"]["created_time"] == -11_644_473_600_000
    assert "module" not in event
    assert event["unmapped"]["StartModule"] == "C:\\Windows\\System32\\ntdll.dll"
    assert (event["timezone_offset"], event["device"]["uid"], event["is_alert"]) == (0, "WORKSTATION5", True)
    assert event["policy"] == {
        "name": "Remote Thread Created; Another; rule",
        "uid": "99b97608-3e21-4bfe-8217-2a127c396a0e",
        "group": {"name": "Sigma"},
    }
    assert event["attacks"] == [
        {"technique": {"uid": "T1055"}},
        {"technique": {"uid": "T1055"}, "sub_technique": {"uid": "T1055.001"}},
        {"tactic": {"uid": "TA0005", "name": "Defense Evasion"}},
    ]
    values = {each["name"]: (each["type_id"], each["value"]) for each in event["observables"]}
    assert values == {
        "device.hostname": (1, "WORKSTATION5"),
        "actor.process.name": (9, "windbg.exe"),
        "actor.process.file.path": (45, "C:\\windbg.exe"),
        "actor.process.cmd_line": (13, '"windbg.exe" -p 8336'),
        "actor.process.user.name": (4, "mäx"),
        "process.name": (9, "notepad.exe"),
        "process.file.path": (45, "notepad.exe"),
        "process.cmd_line": (13, "notepad"),
    }
    assert event["unmapped"]["Evidence"] == ["session-start", "events-lost:3"]
    assert event["device"]["hostname"] == "WORKSTATION5"


@given(detection=detections())
def test_nothing_deprecated_is_used(detection):
    deprecated = {"tid"}
    assert not deprecated & set(keys_of(ocsf.to_event(detection)))


def keys_of(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key != "unmapped":
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def test_no_name_leaves_its_line(detection):
    line = ocsf.to_ocsf(detection(HOSTILE, HOSTILE))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["process"]["file"]["path"] == HOSTILE
