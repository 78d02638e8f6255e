"""Status records in the formats of HTTP receivers."""

import json

import pytest

from etwdetect import __version__
from etwdetect.results.formats.status import status_ecs, status_line, status_ocsf
from etwdetect.results.status import StatusKind, StatusRecord, status_id
from tests.results.conftest import MIDNIGHT

LOST = StatusRecord(StatusKind.LOST, MIDNIGHT, "WORKSTATION5", "3 events lost", 100, 20, 1, 3, 0)


def test_in_json_it_has_names_like_those_of_a_record_and_no_record_id():
    fields = json.loads(status_line("json", LOST))
    assert fields.pop("ProcessId") > 0
    assert fields == {
        "Status": "lost",
        "StatusId": status_id(LOST),
        "Computer": "WORKSTATION5",
        "Time": "132337152000000000",
        "UtcTime": "2020-05-12 00:00:00.000",
        "Message": "3 events lost",
        "Version": __version__,
        "Events": 100,
        "ThreadStarts": 20,
        "RemoteThreads": 1,
        "EventsLost": 3,
        "BuffersLost": 0,
    }


def test_its_id_tells_it_from_others_and_stays():
    others = [LOST._replace(time=1), LOST._replace(host="B"), LOST._replace(kind=StatusKind.STOPPED)]
    assert len({status_id(each) for each in [LOST, *others, LOST]}) == 4


def test_in_ecs_it_is_an_event_of_the_host_and_a_heartbeat_is_a_state():
    document = status_ecs(LOST)
    assert document["event"]["action"] == "lost"
    assert document["host"]["name"] == "WORKSTATION5"
    assert document["etwdetect"]["EventsLost"] == 3
    assert [
        (
            status_ecs(LOST._replace(kind=kind))["event"]["kind"],
            status_ecs(LOST._replace(kind=kind))["event"]["type"],
        )
        for kind in (StatusKind.HEARTBEAT, StatusKind.STARTED, StatusKind.STOPPED)
    ] == [("state", ["info"]), ("event", ["start"]), ("event", ["end"])]


@pytest.mark.parametrize("version", ["1.1.0", "1.4.0", "1.8.0"])
@pytest.mark.parametrize("kind", list(StatusKind), ids=lambda kind: kind.value)
def test_in_ocsf_it_is_valid(version, kind):
    jsonschema = pytest.importorskip("jsonschema", exc_type=ImportError)
    published = pytest.importorskip("ocsf_json_schema")
    schema = published.OcsfJsonSchemaEmbedded(published.get_ocsf_schema(version))
    made = schema.get_class_schema("application_lifecycle")
    jsonschema.Draft202012Validator(made).validate(status_ocsf(LOST._replace(kind=kind)))
