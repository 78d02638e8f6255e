"""--no-command-lines and --no-users, wherever something is written."""

import json

import pytest

from etwdetect.core.events import ProcessRundown, ThreadStart
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart

START = 134_000_000_000_000_000
SID = bytes.fromhex("010500000000000515000000") + bytes(range(1, 17))
SECRETS = ("--password", "anna", "S-1-5-21")
ASKED = ("--no-command-lines", "--no-users")


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "events.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        writer = JsonLinesWriter(stream)
        writer.begin(Recording("HOST", "one"), RecordingStart(START, START))
        image = r"\Device\HarddiskVolume3\Users\anna\evil.exe"
        for pid in (400, 500):
            writer.write(ProcessRundown(START, pid, 4, 1, START - 1, SID, image, f"{image} --password x"))
        writer.write(ThreadStart(START + 20_000_000, 400, 401, 500, 501, 0x1000))
    return path


def test_scan_writes_both_unless_asked_not_to(etwdetect, trace):
    written = etwdetect("scan", trace, "--format", "json").out
    assert all(secret in written for secret in SECRETS)
    (record,) = map(json.loads, etwdetect("scan", trace, "--format", "json", *ASKED).out.splitlines())
    assert not any(secret in json.dumps(record) for secret in SECRETS)
    assert record["SourceImage"].endswith(r"\Users\xxxx\evil.exe")
    assert record["TargetProcessId"] == 500


@pytest.mark.parametrize("form", ["text", "csv", "ecs", "ocsf", "json"])
def test_no_format_has_them(etwdetect, trace, form):
    done = etwdetect("scan", trace, "--format", form, *ASKED)
    assert done.status == 0, done.err
    assert "500" in done.out
    assert not any(secret in done.out for secret in SECRETS)


def test_events_have_neither(etwdetect, trace):
    assert "--password" in etwdetect("events", trace).out
    rows = etwdetect("events", trace, *ASKED).out
    assert "evil.exe" in rows
    assert not any(secret in rows for secret in SECRETS)


def test_the_page_has_neither(etwdetect, trace, tmp_path):
    page = tmp_path / "page.html"
    assert etwdetect("report", trace, "-o", page, *ASKED).status == 0
    assert not any(secret in page.read_text("utf-8") for secret in SECRETS)


@pytest.mark.parametrize("command", ["scan", "monitor", "events", "report", "doctor"])
def test_every_command_that_writes_them_has_both_options(etwdetect, command):
    shown = etwdetect(command, "--help").out
    assert all(option in shown for option in ASKED)
