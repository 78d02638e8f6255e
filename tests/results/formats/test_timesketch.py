"""Events for Timesketch: what it requires of a line, and behind that the record."""

import json
from datetime import UTC, datetime

from etwdetect.results import record
from etwdetect.results.formats.timesketch import to_timesketch
from tests.results.conftest import FULL


def test_a_line_has_the_three_required_fields_and_behind_them_those_of_json():
    event = json.loads(to_timesketch(FULL))
    assert list(event) == ["message", "datetime", "timestamp_desc", *record.to_dict(FULL)]
    assert {name: event[name] for name in record.to_dict(FULL)} == record.to_dict(FULL)
    assert event["message"] == (
        "Remote thread 9384 in process 8336 (notepad.exe), made by thread 4788 of process 7392 (C:\\windbg.exe)"
    )
    assert event["timestamp_desc"] == "Remote Thread Created"


def test_the_time_is_in_utc_with_its_offset_and_always_to_the_microsecond(detection):
    written = [
        json.loads(to_timesketch(detection(time=FULL.thread.time + ticks)))["datetime"] for ticks in (0, 12_345, 9)
    ]
    assert written == [
        "2020-05-12T13:08:15.280000+00:00",
        "2020-05-12T13:08:15.281234+00:00",
        "2020-05-12T13:08:15.280000+00:00",
    ]
    assert datetime.fromisoformat(written[0]) == datetime(2020, 5, 12, 13, 8, 15, 280_000, tzinfo=UTC)
