"""The monitor's output as the spool of its sinks."""

import contextlib
import json
import os
import re
import socket
import threading

from tests.live.inside.windows_monitor import thread
from tests.running import until

KILLS = int(os.environ.get("ETWDETECT_KILLS", "3"))
"""How often the monitor is killed; acceptance wants 20."""


def test_a_killed_monitor_loses_nothing_for_a_receiver_that_was_away(machine, monitor, tmp_path):
    output = tmp_path / "hits.json"
    port = free_port()
    rotation = ("--rotate", 0.02, "--keep", 999)
    options = ("--format", "json", "--output", output, *rotation, "--to", f"syslog+tcp://127.0.0.1:{port}")
    for kill in range(KILLS):
        watching = monitor(*options)
        before = count_lines(output)
        machine.log([thread(kill * 100 + number) for number in range(30)])
        until(lambda before=before: count_lines(output) > before + 10, "some records")
        watching.process.kill()
        watching.end()
    written = [json.loads(line)["RecordId"] for line in lines(output)]
    assert len(set(written)) == len(written)
    assert len(output_files(output)) > 1

    received = []
    threading.Thread(target=receive, args=(port, received), daemon=True).start()
    watching = monitor(*options)
    until(lambda: set(written) <= set(received), "all records")
    assert list(dict.fromkeys(received)) == written
    status, _, errors = watching.stop()
    assert status == 0, errors


def test_what_a_receiver_did_not_get_by_the_end_is_said_and_the_status_is_3(machine, monitor, tmp_path):
    output = tmp_path / "hits.json"
    watching = monitor("--format", "json", "--output", output, "--to", f"syslog+tcp://127.0.0.1:{free_port()}")
    machine.log([thread(1)])
    until(lambda: count_lines(output), "the record")
    status, _, errors = watching.stop()
    assert status == 3
    assert any(f"left in {output} for the next run" in line for line in errors)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def output_files(output):
    """The files with the output, the oldest first."""
    rotated = sorted(output.parent.glob("hits.json.*[0-9]"), key=lambda path: -int(path.suffix[1:]))
    return [path for path in (*rotated, output) if path.exists()]


def lines(output):
    return [line for path in output_files(output) for line in path.read_text().splitlines()]


def count_lines(output):
    with contextlib.suppress(OSError):  # a file was just renamed
        return len(lines(output))
    return 0


def receive(port, received):
    """Take the connections at *port*, one after the other, and collect the RecordIds that come."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                data = b""
                while chunk := connection.recv(65_536):
                    *whole, data = (data + chunk).split(b"] ")
                    received += [
                        found[1].decode() for each in whole if (found := re.search(rb'RecordId="(\w+)', each))
                    ]
