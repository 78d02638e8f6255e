"""What real receivers with their default settings make of what is sent to them."""

import os
import signal
import threading
import time

import pytest

from etwdetect.results.sinks.opening import open_sink
from etwdetect.results.sinks.syslog import LIMIT, syslog_message
from tests.results.conftest import FULL
from tests.results.formats.test_status import LOST
from tests.results.sinks.conftest import wait_for
from tests.results.sinks.receivers import RECEIVERS, numbered

COUNT = int(os.environ.get("ETWDETECT_RECEIVERS", "2000"))
"""How many records are sent where many are; acceptance wants 20,000."""
AWAY = 10 * COUNT / 20_000
"""For how many seconds a receiver is away."""
LONGEST = 32_767
"""Characters of a command line."""


@pytest.fixture(params=RECEIVERS)
def receiver(request, tmp_path, free_port, certificate, trusted):  # noqa: ARG001 (the sink trusts the authority)
    """A running receiver for the test's protocol."""
    protocol = request.node.callspec.params.get("protocol", "tcp")
    started = RECEIVERS[request.param](tmp_path, free_port, protocol, certificate)
    started.start()
    yield started
    started.end()


def field(message, name):
    """The value of a field of the structured data; rsyslog has the names in lower case."""
    sent = message["sent"]
    return sent[name] if name in sent else sent.get(name.lower(), "")


def ids(messages):
    return [int(field(message, "NewThreadId")) for message in messages]


def lengths():
    """A length of a command line for each record: from nothing to the longest, in as many steps."""
    return [number * LONGEST // (COUNT - 1) for number in range(COUNT)]


every_way = pytest.mark.parametrize("protocol", ["tcp", "tls", "udp"])
connected = pytest.mark.parametrize("protocol", ["tcp", "tls"])


def send_all(receiver, detections):
    """Send *detections*, slowly where nothing says whether they arrive."""
    sink = open_sink(receiver.url, print)
    for detection in detections:
        sink.put(detection)
        if "udp" in receiver.url and sink.given % 10 == 0:  # its buffer is small
            wait_for(lambda: len(receiver.received()) == sink.given)
    sink.close()
    assert sink.complete, sink.closing()
    wait_for(lambda: len(receiver.received()) >= len(detections))
    return receiver.received()


@pytest.mark.slow
@every_way
def test_command_lines_of_every_length_arrive_whole_or_cut_where_they_are_said_to_be(receiver, protocol):  # noqa: ARG001
    sent = [numbered(number, "\u20ac" * length) for number, length in enumerate(lengths())]
    messages = send_all(receiver, sent)
    assert ids(messages) == [detection.thread.tid for detection in sent]
    assert {message["host"] for message in messages} == {FULL.host}
    for detection, message in zip(sent, messages, strict=True):
        got, full = field(message, "SourceCommandLine"), detection.source.command_line
        assert got == full or (got.endswith("…") and full.startswith(got[:-1]))
        assert (got == full) == (field(message, "Cut") == "")


@pytest.mark.slow
@every_way
def test_a_forged_header_at_any_place_is_taken_for_no_message(receiver, protocol):  # noqa: ARG001
    places = range(7_000, 9_001)
    forged = "<13>1 2026-01-01T00:00:00Z victim app - - - forged " * 20
    sent = [numbered(number, "x" * place + forged) for number, place in enumerate(places)]
    messages = send_all(receiver, sent)
    assert ids(messages) == list(range(len(places)))
    assert {message["host"] for message in messages} == {FULL.host}
    assert {field(message, "Sigma") for message in messages} == {"; ".join(FULL.sigma)}
    assert {field(message, "Cut") for message in messages} == {"SourceCommandLine"}


def test_a_status_record_arrives_with_its_fields(receiver):
    sink = open_sink(receiver.url, print)
    sink.tell(LOST)
    sink.close()
    wait_for(receiver.received)
    (message,) = receiver.received()
    assert (message["host"], field(message, "Status"), field(message, "EventsLost")) == (LOST.host, "lost", "3")


def sending(receiver, told):
    """Send COUNT records of all lengths, in a thread, over some seconds; return the sink and the thread."""
    sink = open_sink(receiver.url, told.append)

    def send():
        for number, length in enumerate(lengths()):
            sink.put(numbered(number, "x" * length))
            time.sleep((AWAY + 2) / COUNT)

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(lambda: len(receiver.received()) > COUNT // 100)
    return sink, sender


@pytest.mark.slow
@connected
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_nothing_is_lost_when_a_receiver_is_gone_for_some_time(receiver, told, number, protocol):  # noqa: ARG001
    sink, sender = sending(receiver, told)
    receiver.end(number)
    time.sleep(AWAY)
    receiver.start()
    sender.join()
    sink.close()
    assert sink.complete, (sink.closing(), told)
    assert sink.closing().startswith(f"{receiver.url}: {COUNT:,} of {COUNT:,} sent; ")
    wait_for(lambda: len(set(ids(receiver.received()))) == COUNT)
    assert {message["host"] for message in receiver.received()} == {FULL.host}


@pytest.mark.slow
@connected
def test_nothing_is_lost_or_sent_twice_when_a_receiver_stands_still(receiver, told, protocol):  # noqa: ARG001
    sink, sender = sending(receiver, told)
    receiver.send_signal(signal.SIGSTOP)
    time.sleep(AWAY)
    receiver.send_signal(signal.SIGCONT)
    sender.join()
    sink.close()
    assert (told, sink.complete) == ([], True)
    wait_for(lambda: ids(receiver.received()) == list(range(COUNT)))


def test_no_message_is_longer_than_receivers_take():
    assert all(len(syslog_message(numbered(1, "\u20ac" * length))) <= LIMIT for length in range(0, LONGEST, 97))
