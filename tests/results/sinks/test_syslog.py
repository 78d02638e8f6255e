"""Syslog messages, over real sockets."""

import contextlib
import re
import socket
import struct
import sys
from dataclasses import replace

import pytest
from hypothesis import given

from etwdetect.results import record
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.sinks.opening import open_sink
from etwdetect.results.sinks.syslog import LIMIT, syslog_message
from etwdetect.results.sinks.syslog_transport import syslog_transport
from tests.results.conftest import FULL, HOSTILE
from tests.results.sinks.conftest import HOST, wait_for
from tests.results.test_record import detections

HEADER = re.compile(
    r"<(?P<pri>[1-9]\d{0,2})>1 (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255})"
    r" etwdetect - CreateRemoteThread \[etwdetect@32473(?P<data>.*?[^\\](?:\\\\)*\")\] ?(?P<text>.*)",
    re.DOTALL,
)
LEFT_OUT = {"CallTrace", "CallKernel", "CallSymbols", "KindReason", "PriorAccess", "Absent"}
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
    assert len(dict(data)) == len(data)  # rsyslog keeps the last of parameters with one name
    assert dict(data)["Evidence"] == "session-start; events-lost:3"
    assert dict(data)["Sigma"] == "Remote Thread Created; Another; rule"
    known = record.to_dict(FULL)
    assert {name for name, _ in data} == known.keys() - LEFT_OUT
    single = {name: str(value) for name, value in known.items() if not isinstance(value, list | dict)}
    assert {item for item in single.items() if item[0] not in LEFT_OUT} <= set(data)


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
    for limit in (4_096, LIMIT, 65_536):
        message = syslog_message(detection, limit)
        _, data = parsed(message)
        assert len(message) <= limit
        cut = {name for name, value in data if value.endswith("…")}
        assert set(dict(data).get("Cut", "").split()) <= cut
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


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_long_message_is_cut_as_little_as_needed_and_says_where(sink, datagrams, stream_server, protocol):
    server = stream_server()
    port = datagrams.getsockname()[1] if protocol == "udp" else server.port
    opened = sink(f"syslog+{protocol}://{HOST}:{port}")
    source = replace(FULL.source, image="x" * 32_000, command_line="]" * 32_000, user="\U0001f600" * 32_000)
    opened.put(replace(FULL, source=source))
    message = datagrams.recv(65_535) if protocol == "udp" else server.frames.get(timeout=30)
    _, data = parsed(message)
    cut = ["SourceImage", "SourceCommandLine", "SourceUser"]
    assert sorted(dict(data)["Cut"].split()) == sorted(cut)
    lengths = {len(dict(data)[name]) for name in cut}
    assert len(lengths) == 1
    assert all(dict(data)[name].endswith("…") for name in cut)
    assert LIMIT - 3 * 6 <= len(message) <= LIMIT
    assert dict(data)["TargetImage"] == record.to_dict(FULL)["TargetImage"]


@pytest.mark.parametrize("limit", [4_096, 8_192, 65_507])
def test_no_message_grows_beyond_its_limit(limit):
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
    message = syslog_message(everything, limit)
    parsed(message)
    assert limit // 2 < len(message) <= limit


def test_the_limit_of_messages_comes_from_the_url(sink, stream_server, detection):
    server = stream_server()
    opened = sink(f"syslog+tcp://{HOST}:{server.port}?limit=65536")
    long = detection("x" * 32_000)
    opened.put(long)
    assert server.frames.get(timeout=30) == syslog_message(long, 65_536)


@pytest.mark.parametrize("query", ["limit=4095", "limit=", "limit=x", "size=9000", "limit"])
def test_a_limit_that_no_message_can_keep_is_refused(query):
    with pytest.raises(SinkError):
        open_sink(f"syslog+tcp://{HOST}?{query}", print)


def test_a_record_without_a_machine_is_from_this_one(detection):
    parts, _ = parsed(syslog_message(replace(detection(), host=None)))
    assert parts["host"] == socket.gethostname()


def test_frames_on_a_stream_carry_their_length(sink, stream_server, detection):
    server = stream_server()
    opened = sink(f"syslog+tcp://{HOST}:{server.port}")
    named = detection(HOSTILE, "ä\nb.exe")
    opened.put(named)
    opened.put(FULL)
    assert [server.frames.get(timeout=30) for _ in range(2)] == [syslog_message(named), syslog_message(FULL)]
    opened.close()
    assert (opened.sent, opened.complete, server.connections) == (2, True, 1)


def test_a_server_that_hangs_up_is_connected_again_and_gets_what_may_be_lost(sink, stream_server, detection):
    server = stream_server()
    opened = sink(f"syslog+tcp://{HOST}:{server.port}")
    opened.put(detection())
    server.frames.get(timeout=30)
    server.hang_up()
    wait_for(lambda: not opened.left)
    opened.put(FULL)
    again = [server.frames.get(timeout=30) for _ in range(2)]
    assert again == [syslog_message(detection()), syslog_message(FULL)]  # the first may have been lost
    assert server.connections == 2
    opened.close()
    assert opened.closing().endswith(": 2 of 2 sent; 1 sent again")


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
    assert [server.frames.get(timeout=30) for _ in range(2)] == [syslog_message(detection()), syslog_message(FULL)]


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


def test_what_a_server_that_stands_still_was_sent_stays_uncertain(detection, monkeypatch):
    monkeypatch.setattr("etwdetect.results.sinks.syslog_transport._SECONDS", 0.2)
    with socket.create_server((HOST, 0)) as server:
        transport = syslog_transport("tcp", HOST, server.getsockname()[1])
        transport.send([transport.message(detection())] * 3)
        transport.finish()
        assert (transport.uncertain, transport.doubtful) == (3, 0)
        transport.close()


def reset(connection):
    """Close *connection* with a reset, not with an end."""
    # Windows' LINGER is of shorts: of these eight bytes it takes the first four, with the same meaning.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def resets():
    """Skip where who reads is not told of a reset; on Linux and Windows it is, by Wine 8 it is not."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        reset(server.accept()[0])
        client.settimeout(30)
        with contextlib.suppress(ConnectionError):
            client.recv(1)
            pytest.skip("this system tells of a reset as of an end")


@pytest.mark.usefixtures("resets")
def test_what_is_beyond_the_window_is_possibly_lost(sink, detection, monkeypatch):
    monkeypatch.setattr("etwdetect.results.sinks.syslog_transport._MOST_AGAIN_BYTES", 10_000)
    with socket.create_server((HOST, 0)) as server:
        opened = sink(f"syslog+tcp://{HOST}:{server.getsockname()[1]}")
        for number in range(100):
            opened.put(detection(tid=number))
        wait_for(lambda: not opened.left)
        size = len(syslog_message(detection(tid=10))) + 4
        connection, _ = server.accept()
        reset(connection)  # and nothing of it read
        opened.put(FULL)
        connection, _ = server.accept()
        with connection:
            wait_for(lambda: not opened.left)
            opened.begin_close()
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        opened.close()
    kept = received.count(b"NewThreadId") - 1
    assert 10_000 // size - 1 <= kept <= 10_000 // size + 1
    assert f"; {kept} sent again; {100 - kept} possibly lost with a connection" in opened.closing()
    assert not opened.complete
