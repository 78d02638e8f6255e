"""Syslog messages, over real sockets."""

import re
import socket
import sys
from dataclasses import replace

import pytest
from hypothesis import given

from etwdetect.results import record
from etwdetect.results.sinks.syslog import syslog_message
from tests.results.conftest import FULL, HOSTILE
from tests.results.sinks.conftest import HOST, wait_for
from tests.results.test_record import detections

HEADER = re.compile(
    r"<(?P<pri>[1-9]\d{0,2})>1 (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255})"
    r" etwdetect - CreateRemoteThread \[etwdetect@32473(?P<data>.*?[^\\](?:\\\\)*\")\] ?(?P<text>.*)",
    re.DOTALL,
)
PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"', re.DOTALL)


def parsed(message):
    """The parts of a message by RFC 5424's grammar, strictly; its structured data as a list of pairs."""
    text = message.decode("utf-8")
    parts = HEADER.fullmatch(text)
    assert parts, text
    data, rest = [], parts["data"]
    while rest:
        parameter = PARAMETER.match(rest)
        assert parameter, rest
        data.append((parameter[1], re.sub(r'\\(["\\\]])', r"\1", parameter[2])))
        rest = rest[parameter.end() :]
    return parts, data


def test_a_message_has_the_header_the_fields_and_a_sentence():
    parts, data = parsed(syslog_message(FULL))
    assert (parts["pri"], parts["time"], parts["host"]) == ("109", "2020-05-12T13:08:15.280Z", "WORKSTATION5")
    assert parts["text"] == (
        "Remote thread 9384 in process 8336 (notepad.exe), made by thread 4788 of process 7392 (C:\\windbg.exe)"
    )
    assert dict(data)["SourceUser"] == "LAB\\mäx"
    assert [value for name, value in data if name == "Evidence"] == ["session-start", "events-lost:3"]
    assert [value for name, value in data if name == "Sigma"] == ["Remote Thread Created", "Another; rule"]
    known = record.to_dict(FULL)
    assert {name for name, _ in data} == known.keys() - {"KindReason", "PriorAccess", "Absent"}
    single = {name: str(value) for name, value in known.items() if not isinstance(value, list | dict)}
    assert single.items() - {("KindReason", FULL.reason)} <= set(data)


@pytest.mark.parametrize(
    ("severity", "number"), [("high", 3), ("medium", 4), ("low", 5), ("informational", 6), (None, 5), ("odd", 5)]
)
def test_a_severity_is_that_of_syslog_in_the_facility_of_audits(severity, number):
    parts, _ = parsed(syslog_message(replace(FULL, severity=severity)))
    assert int(parts["pri"]) == 13 * 8 + number


def test_text_outside_ascii_is_marked_as_utf_8(detection):
    assert b"] Remote" in syslog_message(detection("a.exe"))
    assert b"] \xef\xbb\xbfRemote" in syslog_message(detection("ä.exe"))


@given(detections())
def test_whatever_a_detection_holds_its_message_follows_the_grammar_on_one_line(detection):
    for most in (None, 256):
        message = syslog_message(detection, most)
        parsed(message)
        assert message.decode("utf-8").isprintable() or b"\xef\xbb\xbf" in message
        assert len(message.splitlines()) == 1


def test_a_datagram_is_a_message(sink, datagrams, detection):
    opened = sink(f"syslog+udp://{HOST}:{datagrams.getsockname()[1]}")
    opened.put(detection())
    opened.put(FULL)
    assert datagrams.recv(65_535) == syslog_message(detection())
    assert datagrams.recv(65_535) == syslog_message(FULL)
    opened.close()
    assert (opened.sent, opened.complete) == (2, True)


def test_a_long_message_is_cut_to_fit_a_datagram_and_says_so(sink, datagrams):
    long = replace(FULL.source, image="x" * 32_000, command_line="]" * 32_000, user="\U0001f600" * 32_000)
    opened = sink(f"syslog+udp://{HOST}:{datagrams.getsockname()[1]}")
    opened.put(replace(FULL, source=long, target=replace(long, pid=8336)))
    _, data = parsed(datagrams.recv(65_535))
    assert dict(data)["SourceImage"] == "x" * 255 + "…"
    assert dict(data)["SourceCommandLine"] == "]" * 255 + "…"
    assert dict(data)["TargetUser"] == "\U0001f600" * 255 + "…"


def test_no_datagram_grows_beyond_what_udp_takes():
    long = "\U0010ffff]\\" * 32_000
    process = dict.fromkeys(("image", "command_line", "parent_image", "parent_command_line", "user", "guid"), long)
    everything = replace(
        FULL,
        source=replace(FULL.source, **process),
        target=replace(FULL.target, **process),
        start=replace(FULL.start, module=long, function=long),
        thread=FULL.thread._replace(evidence=(long,) * 1000),
        **dict.fromkeys(("host", "kind", "reason", "severity"), long),
        sigma=(long,) * 1000,
    )
    assert len(syslog_message(everything, 256)) < 65_507


def test_frames_on_a_stream_carry_their_length(sink, stream_server, detection):
    server = stream_server()
    opened = sink(f"syslog+tcp://{HOST}:{server.port}")
    named = detection(HOSTILE, "ä\nb.exe")
    opened.put(named)
    opened.put(FULL)
    assert [server.frames.get(timeout=30) for _ in range(2)] == [syslog_message(named), syslog_message(FULL)]
    opened.close()
    assert (opened.sent, opened.complete, server.connections) == (2, True, 1)


def test_a_server_that_hangs_up_is_connected_again(sink, stream_server, detection):
    server = stream_server()
    opened = sink(f"syslog+tcp://{HOST}:{server.port}")
    opened.put(detection())
    server.frames.get(timeout=30)
    server.hang_up()
    wait_for(lambda: not opened.left)
    opened.put(FULL)
    assert server.frames.get(timeout=30) == syslog_message(FULL)
    assert server.connections == 2


def test_what_waits_for_a_server_is_sent_when_it_comes(sink, stream_server, free_port, told, detection):
    opened = sink(f"syslog+tcp://{HOST}:{free_port}")
    for number in range(5):
        opened.put(detection(tid=number))
    wait_for(lambda: told)
    server = stream_server(free_port)
    frames = [server.frames.get(timeout=30) for _ in range(5)]
    assert frames == [syslog_message(detection(tid=number)) for number in range(5)]
    wait_for(lambda: len(told) == 2)
    assert re.fullmatch(f"syslog\\+tcp://{HOST}:{free_port}: .*refused.*; trying again", told[0])
    assert told[1:] == [f"syslog+tcp://{HOST}:{free_port}: is back"]


def test_tls_is_spoken_with_a_server_that_is_trusted(sink, stream_server, tls_context, trusted, detection):  # noqa: ARG001
    server = stream_server(context=tls_context)
    opened = sink(f"syslog+tls://{HOST}:{server.port}")
    opened.put(detection())
    assert server.frames.get(timeout=30) == syslog_message(detection())
    server.hang_up()
    opened.put(FULL)
    opened.put(FULL)
    assert server.frames.get(timeout=30) == syslog_message(FULL)


@pytest.mark.usefixtures("short_farewell")
def test_a_server_that_is_not_trusted_gets_nothing(sink, stream_server, tls_context, told, detection):
    server = stream_server(context=tls_context)
    opened = sink(f"syslog+tls://{HOST}:{server.port}")
    opened.put(detection())
    wait_for(lambda: told)
    opened.close()
    assert "certificate verify failed" in told[0]
    assert (opened.sent, opened.left, opened.complete) == (0, 1, False)
    assert server.frames.empty()


says_that_a_datagram_was_refused = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows tells that of a refused datagram to who receives, not to who sends"
)


@says_that_a_datagram_was_refused
@pytest.mark.usefixtures("short_farewell")
def test_a_refused_datagram_is_told(sink, free_port, told, detection):
    opened = sink(f"syslog+udp://{HOST}:{free_port}")
    for number in range(20):
        opened.put(detection(tid=number))
    wait_for(lambda: told)
    assert told[0].endswith("Connection refused; trying again")


@says_that_a_datagram_was_refused
@pytest.mark.usefixtures("short_farewell")
def test_a_server_that_refuses_datagrams_is_not_said_to_be_back(sink, free_port, told, detection):
    opened = sink(f"syslog+udp://{HOST}:{free_port}")
    for number in range(20):
        opened.put(detection(tid=number))
    wait_for(lambda: told)
    opened.close()
    assert len(told) == 1
    assert (opened.sent < opened.given, opened.complete) == (True, False)


@says_that_a_datagram_was_refused
def test_a_server_that_takes_datagrams_again_gets_what_is_left_and_is_back(sink, free_port, told, detection):
    opened = sink(f"syslog+udp://{HOST}:{free_port}")
    for number in range(20):
        opened.put(detection(tid=number))
    wait_for(lambda: told)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, free_port))
        server.settimeout(30)
        wait_for(lambda: not opened.left)
        while b'NewThreadId="19"' not in server.recv(65_536):  # the last one comes
            pass
    assert told[1:] == [f"syslog+udp://{HOST}:{free_port}: is back"]
