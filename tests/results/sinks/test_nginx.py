"""What nginx makes of what is posted to it."""

import signal

import pytest

from etwdetect.results.record import to_dict
from etwdetect.results.sinks.opening import open_sink
from tests.results.sinks.conftest import wait_for
from tests.results.sinks.receivers import Nginx, numbered


@pytest.fixture
def nginx(tmp_path, free_port, certificate, trusted):  # noqa: ARG001 (the sink trusts the authority)
    """Start nginx; it ends with the test."""
    started = []

    def start(protocol="http", **options):
        started.append(Nginx(tmp_path, free_port, protocol, certificate, **options))
        started[0].start()
        return started[0]

    yield start
    for each in started:
        each.end()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "https"])
def test_it_gets_every_record_once_and_whole(nginx, protocol):
    receiver = nginx(protocol)
    sent = [numbered(number, "\u20ac" * (number * 60)) for number in range(500)]
    sink = open_sink(receiver.url, print)
    for detection in sent:
        sink.put(detection)
    sink.close()
    assert sink.complete
    assert receiver.received() == [to_dict(detection) for detection in sent]


def test_what_it_takes_no_whole_body_of_is_posted_in_smaller_ones(nginx):
    receiver = nginx(most="20k")
    sink = open_sink(receiver.url, print)
    for number in range(500):
        sink.put(numbered(number))
    sink.close()
    assert sink.complete
    assert [record["NewThreadId"] for record in receiver.received()] == list(range(500))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_nothing_is_lost_when_it_is_gone_for_some_time(nginx, told, number):
    receiver = nginx()
    sink = open_sink(receiver.url, told.append)
    for each in range(500):
        sink.put(numbered(each))
    wait_for(receiver.received)
    receiver.end(number)
    for each in range(500, 1_000):
        sink.put(numbered(each))
    wait_for(lambda: told)
    receiver.start()
    sink.close()
    assert sink.complete
    assert {record["NewThreadId"] for record in receiver.received()} == set(range(1_000))
