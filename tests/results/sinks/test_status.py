"""What receivers get besides records: how the monitor is."""

import json
import re

import pytest

from etwdetect.results.sinks.queue import Sink
from etwdetect.results.sinks.syslog import LEAST_LIMIT, status_message
from etwdetect.results.sinks.syslog_transport import syslog_transport
from etwdetect.results.status import StatusKind
from tests.results.conftest import FULL, HOSTILE
from tests.results.formats.test_status import LOST
from tests.results.sinks.conftest import HOST, wait_for


@pytest.mark.parametrize("kind", list(StatusKind), ids=lambda kind: kind.value)
def test_over_syslog_it_has_a_message_id_of_its_own_and_a_severity(kind):
    severity = 4 if kind in {StatusKind.LOST, StatusKind.SESSION_TAKEN, StatusKind.DEGRADED} else 6
    message = status_message(LOST._replace(kind=kind)).decode()
    assert message.startswith(
        f"<{13 * 8 + severity}>1 2020-05-12T00:00:00.000Z WORKSTATION5 etwdetect - Status "
        f'[etwdetect@32473 Status="{kind.value}" StatusId='
    )
    assert message.endswith("] 3 events lost")


def test_over_syslog_no_text_breaks_it():
    message = status_message(LOST._replace(message=HOSTILE * 9_000, host="a b\n<1>"), LEAST_LIMIT).decode()
    assert len(message.encode()) <= LEAST_LIMIT
    assert "\n" not in message
    assert " a?b?<1> etwdetect - Status [" in message


def test_over_http_it_is_a_line_among_the_records_and_counted(http_server, sink):
    server = http_server()
    sending = sink(f"http://{HOST}:{server.port}/")
    sending.put(FULL)
    sending.tell(LOST)
    sending.close()
    lines = [json.loads(line) for *_, body in server.requests for line in body.splitlines()]
    assert [line.get("Status") for line in lines] == [None, "lost"]
    assert sending.closing() == f"http://{HOST}:{server.port}: 2 of 2 sent, with 1 status record"


@pytest.mark.usefixtures("short_farewell")
def test_heartbeats_do_not_pile_up_for_a_receiver_that_is_away(free_port, told):
    away = Sink(syslog_transport("tcp", HOST, free_port), told.append, wait=None)
    away.tell(LOST)
    wait_for(lambda: told)
    for kind in [StatusKind.HEARTBEAT, StatusKind.HEARTBEAT, StatusKind.STOPPED]:
        away.tell(LOST._replace(kind=kind))
    assert away.given == 2
    away.close()


def test_what_finds_the_queue_full_is_dropped_and_counted(free_port, told, monkeypatch):
    monkeypatch.setattr("etwdetect.results.sinks.queue.LIVE_WAIT", 0.0)
    monkeypatch.setattr("etwdetect.results.sinks.backlog.BYTES_BOUND", 1)
    away = Sink(syslog_transport("tcp", HOST, free_port), told.append, wait=None)
    for _ in range(5):
        away.tell(LOST)
    away.close()
    assert away.dropped >= 3
    assert re.search(r"0 of 5 sent, with 5 status records; \d found the queue full", away.closing())
