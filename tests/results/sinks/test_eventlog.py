"""The text of an event in the Windows event log; tests/wine/inside/windows_eventlog.py reports some."""

from dataclasses import replace

import pytest

from etwdetect.results.fields import NAMES
from etwdetect.results.sinks.eventlog import EventLogTransport, event_text
from etwdetect.results.status import StatusKind
from tests.results.conftest import FULL, HOSTILE
from tests.results.formats.test_status import LOST


def text(event):
    return event[2:].decode("utf-16-le")


def test_an_event_has_a_line_for_each_field_as_sysmons_have():
    head, *lines = text(EventLogTransport("etwdetect").message(FULL)).split("\r\n")
    assert head == "CreateRemoteThread detected:"
    assert [line.partition(": ")[0] for line in lines] == list(NAMES)
    assert "SourceImage: C:\\windbg.exe" in lines
    assert "Evidence: session-start; events-lost:3" in lines
    assert "Absent: SourceUser: not in the trace; TargetUser: not in the trace" in lines


@pytest.mark.parametrize(
    ("severity", "kind"), [("high", 2), ("medium", 2), ("low", 4), ("informational", 4), (None, 4)]
)
def test_what_is_severe_is_a_warning_and_all_else_information(severity, kind):
    assert EventLogTransport("etwdetect").message(replace(FULL, severity=severity))[0] == kind


def test_no_name_makes_a_line_of_its_own(detection):
    event = event_text(detection(HOSTILE))
    assert all(line.isprintable() for line in event.split("\r\n"))


def test_no_name_asks_the_event_viewer_for_another_text(detection):
    assert "SourceImage: a% 1% % % 2%s%.exe\r\n" in event_text(detection("a%1%%%2%s%.exe"))


def test_no_event_is_longer_than_windows_takes():
    long = "\U0010ffff" * 32_000
    process = dict.fromkeys(("image", "command_line", "parent_image", "parent_command_line", "user", "guid"), long)
    everything = replace(
        FULL,
        source=replace(FULL.source, **process),
        target=replace(FULL.target, **process),
        start=replace(FULL.start, module=long, function=long),
        thread=FULL.thread._replace(evidence=(long,) * 9),
        **dict.fromkeys(("host", "kind", "reason", "severity"), long),
        sigma=(long,) * 9,
        absent=((long, long),),
    )
    event = text(EventLogTransport("etwdetect").message(everything))
    assert len(event) < 31_839
    assert len(event.encode("utf-16-le")) < 60_000
    assert "…" in event


def test_a_status_record_has_an_id_of_its_own_and_is_a_warning_where_somebody_should_look():
    transport = EventLogTransport("etwdetect")
    assert [transport.status(LOST._replace(kind=kind))[:2] for kind in (StatusKind.LOST, StatusKind.STARTED)] == [
        bytes([2, 2]),
        bytes([4, 2]),
    ]
    assert text(transport.status(LOST)).startswith("Monitor lost:\r\nStatus: lost\r\nStatusId: ")
    assert len(text(transport.status(LOST._replace(message="x" * 60_000)))) < 2_000


@pytest.mark.parametrize("source", ["a\\b", "a\nb", "x" * 300])
def test_what_can_be_no_source_is_refused(source):
    with pytest.raises(ValueError, match="printable characters without a backslash"):
        EventLogTransport(source)
