"""The output as a spool: what the receiver has not got is sent later, also by another run, in order."""

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.cli.results import Choices, Results
from etwdetect.results.filters import Filter
from etwdetect.results.record import from_json, to_json
from etwdetect.results.rotation import GrowingFile, Rotation
from etwdetect.results.sinks.cursors import Cursors
from etwdetect.results.sinks.opening import open_transport
from etwdetect.results.sinks.spool import Spool
from tests.results.conftest import FULL
from tests.results.sinks.conftest import HOST, HttpServer, wait_for

URL = "http://receiver.example/"


def numbered(number):
    return replace(FULL, thread=FULL.thread._replace(tid=number))


class Run:
    """A run of the monitor, as far as its output, in *folder*, and one receiver at *url* are concerned."""

    def __init__(self, folder, told, url=URL, limit=None, keep=9):
        self.file = GrowingFile(folder / "hits.json", Rotation(limit, keep))
        self.transport = open_transport(url)
        cursor = Cursors(folder / "hits.json.cursor", told.append).cursor(url, self.transport.name)
        self.taken = 0
        self.spool = Spool(self.file, cursor, lambda detection: b"%d" % detection.thread.tid, told.append)

    def write(self, *numbers):
        for number in numbers:
            if self.file.is_full:
                self.file.rotate()
            self.file.write(to_json(numbered(number)) + "\n")

    def waits(self):
        """Whether something is there to be sent."""
        return self.spool.given > self.spool.dropped + self.taken

    def take(self, most):
        """Return the numbers of what the sink takes."""
        taken = [int(each) for each in self.spool.take(most)]
        self.taken += len(taken)
        return taken

    def read(self):
        """Return the numbers of all that is there to be sent."""
        self.spool.close()
        return [int(each) for each in iter(lambda: b"".join(self.spool.take(1)), b"")]


@pytest.fixture
def run(tmp_path, told):
    """Start runs; one may begin while an earlier one is there, as if that had been killed."""
    with contextlib.ExitStack() as stack:

        def start(**options):
            started = Run(tmp_path, told, **options)
            stack.callback(started.file.close)
            return started

        yield start


def test_what_was_not_sent_is_sent_by_the_next_run(run):
    first = run()
    first.write(1, 2, 3)
    assert first.spool.take(2) == [b"1", b"2"]
    first.spool.settle(2, 0)
    first.spool.finish()
    second = run()
    second.write(4)
    assert second.read() == [3, 4]
    assert second.spool.given == 2


def test_what_may_not_have_been_read_is_sent_again_by_the_next_run(run):
    first = run()
    first.write(1, 2, 3)
    first.spool.take(3)
    first.spool.settle(3, 2)
    first.spool.finish()
    assert run().read() == [2, 3]


def test_a_run_that_was_killed_leaves_its_cursor(run):
    first = run()
    first.write(1)
    assert first.spool.take(1) == [b"1"]
    assert run().read() == [1]  # nothing was settled or finished


def test_a_new_receiver_gets_what_is_written_from_then_on_and_that_is_told(run, told, tmp_path):
    (tmp_path / "hits.json").write_text(to_json(numbered(1)) + "\n")
    first = run()
    first.write(2)
    assert first.read() == [2]
    assert told == [
        f"new receiver http://receiver.example: what {tmp_path / 'hits.json'} has so far is not sent to it"
    ]


def test_each_receiver_has_its_own_cursor(run):
    run(url="http://receiver.example/other")
    first = run()
    first.write(1)
    first.spool.take(1)
    first.spool.settle(1, 0)
    first.spool.finish()
    assert run().read() == []
    assert run(url="http://receiver.example/other").read() == [1]


def test_rotated_files_are_read_in_their_order(run):
    first = run(limit=1)
    first.write(*range(5))
    assert first.read() == [0, 1, 2, 3, 4]
    assert first.spool.dropped == 0


@pytest.mark.parametrize("read", range(5))
def test_the_next_run_goes_on_in_the_file_that_was_rotated_since(run, read):
    first = run(limit=3_000)
    first.write(*range(5))
    assert [int(*first.spool.take(1)) for _ in range(read)] == list(range(read))
    first.spool.settle(read, 0)
    first.spool.finish()
    first.write(*range(5, 20))
    assert len(first.file.paths()) > 3
    assert run().read() == list(range(read, 20))


def test_what_is_rotated_away_unread_is_counted_and_told_and_the_rest_is_sent(run, told):
    first = run(limit=1, keep=2)
    first.write(*range(7))
    assert first.read() == [4, 5, 6]
    assert (first.spool.given, first.spool.dropped) == (7, 4)
    assert told == ["http://receiver.example: 4 records rotated away before being sent"]


def test_what_was_rotated_away_between_two_runs_is_told(run, told):
    first = run(limit=1, keep=2)
    first.write(1)
    first.spool.take(1)
    first.spool.settle(1, 0)
    first.spool.finish()
    first.write(2, 3, 4, 5)
    second = run()
    assert told == [f"{second.file.path} was rotated beyond what http://receiver.example got: records are lost"]
    assert second.read() == [3, 4, 5]
    assert (second.spool.given, second.spool.dropped) == (4, 1)  # one is assumed


def test_a_file_that_was_emptied_by_others_is_read_from_its_beginning(run, told):
    first = run()
    first.write(1, 2)
    assert first.spool.take(2) == [b"1", b"2"]
    with first.file.path.open("r+") as file:
        file.truncate()
    first.write(3)
    assert first.read() == [3]
    assert (told, first.spool.dropped) == ([], 0)


def test_status_records_are_sent_before_what_waits_and_move_no_cursor(run):
    first = run()
    first.write(1, 2)
    first.spool.put_message(b"started")
    assert [first.spool.take(5) for _ in range(2)] == [[b"started"], [b"1", b"2"]]
    assert first.spool.given == 3
    first.spool.settle(2, 0)
    first.spool.finish()
    assert run().read() == [2]


def test_status_records_that_wait_are_bounded_and_the_rest_is_counted_as_dropped(run):
    first = run()
    first.write(1)
    for _ in range(1_200):
        first.spool.put_message(b"lost")
    assert len(first.spool.take(9_999)) == 1_000
    assert first.read() == [1]
    assert (first.spool.given, first.spool.dropped) == (1_201, 200)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_when_others_removed_all_files_what_was_in_them_is_counted_as_dropped(run, tmp_path):
    first = run()
    first.write(1, 2)
    assert first.spool.take(1) == [b"1"]  # and the other one is in memory
    first.write(3)
    (tmp_path / "hits.json").unlink()
    assert first.read() == [2]
    assert (first.spool.given, first.spool.dropped) == (3, 1)
    first.spool.settle(2, 0)
    first.spool.finish()
    assert run().read() == []


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"a": 1}',
        '{"a": {"receiver": "", "file": "", "offset": -1}}',
        '{"a": {"receiver": "", "file": "../..", "offset": 0}}',
        '{"a": {"receiver": "", "file": "", "offset": ' + "9" * 30 + "}}",
        '{"a": {"receiver": "", "file": "", "offset": true}}',
        "\xff" * 2_000_000,
    ],
    ids=range(10),
)
def test_with_a_damaged_cursor_everything_is_sent_and_that_is_told(run, told, tmp_path, damaged):
    (tmp_path / "hits.json").write_text(to_json(numbered(1)) + "\n")
    (tmp_path / "hits.json.cursor").write_text(damaged)
    assert run().read() == [1]
    assert len(told) == 1
    assert "all that is in the output is sent again" in told[0]
    json.loads((tmp_path / "hits.json.cursor").read_text())


def test_a_line_that_is_no_record_is_told_once_counted_and_passed_over(run, told):
    first = run()
    first.write(1)
    first.file.write("no record\n\n" + "x" * 9_000_000 + "\n")
    first.write(2)
    assert first.read() == [1, 2]
    assert first.spool.unreadable == 3
    assert len(told) == 1


def test_a_line_that_a_power_failure_cut_is_passed_over(run, tmp_path):
    first = run()
    first.write(1)
    with (tmp_path / "hits.json").open("a") as file:
        file.write('{"Sch')
    second = run()
    second.write(2)
    assert second.read() == [1, 2]
    assert second.spool.unreadable == 1


def test_what_a_power_failure_took_after_it_was_sent_is_not_missed(run, told, tmp_path):
    first = run()
    first.write(1, 2)
    first.spool.take(2)
    first.spool.settle(2, 0)
    first.spool.finish()
    whole = (tmp_path / "hits.json").read_bytes().splitlines(keepends=True)
    (tmp_path / "hits.json").write_bytes(whole[0])
    second = run()
    second.write(3)
    assert second.read() == [3]
    assert (told, second.spool.given, second.spool.dropped) == ([], 1, 0)


def test_a_cursor_that_cannot_be_written_is_told_and_sending_goes_on(run, told, tmp_path):
    (tmp_path / "hits.json.cursor.new").mkdir()
    first = run()
    first.write(1)
    assert first.read() == [1]
    first.spool.settle(1, 0)
    first.spool.finish()
    assert len(told) == 1
    assert "cannot be written" in told[0]


STEPS = st.lists(st.sampled_from(["write", "write", "write", "deliver", "end", "kill"]), max_size=60)


@given(steps=STEPS, keep=st.integers(1, 3), most=st.integers(1, 4))
def test_whatever_happens_each_is_sent_in_order_or_counted_as_dropped(tmp_path_factory, steps, keep, most):
    folder, told = tmp_path_factory.mktemp("spool"), []
    current = Run(folder, told, limit=5_000, keep=keep)
    sent, written, dropped, in_hand = [], 0, 0, []
    for step in steps:
        match step:
            case "write":
                current.write(written)
                written += 1
            case "deliver":
                sent += in_hand
                current.spool.settle(len(in_hand), 0)
                in_hand = []
            case "end" | "kill":
                if step == "end":
                    current.spool.finish()
                dropped += current.spool.dropped
                current.file.close()
                current, in_hand = Run(folder, told, limit=5_000, keep=keep), []
        if not in_hand and current.waits():
            in_hand = current.take(most)
    sent += in_hand + current.read()
    dropped += current.spool.dropped
    current.file.close()
    at_first = list(dict.fromkeys(sent))
    assert at_first == sorted(at_first)
    assert len(at_first) == written or dropped
    if "kill" not in steps and "end" not in steps:
        assert len(sent) + dropped == written


def test_a_record_from_the_file_makes_the_same_message():
    for url in ("syslog+udp://h", "http://h/", "http+ecs://h/", "http+ocsf://h/"):
        message = open_transport(url).message
        assert message(from_json(to_json(FULL))) == message(FULL)


MONITOR = """
import sys, time
from pathlib import Path
from etwdetect.cli.results import Choices, Results
from etwdetect.results.filters import Filter
from etwdetect.results.rotation import Rotation
from tests.results.sinks.test_spool import numbered

url, form, output, number = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
results = Results(Choices(form=form, output=output, to=(url,)), Filter())
with results.open(live=True, rotation=Rotation(100_000, 1_000)):
    while True:
        results.show(numbered(number))
        number += 1
        print(number, flush=True)
        time.sleep(0.001)
"""
ROOT = Path(__file__).resolve().parents[3]
KILLS = int(os.environ.get("ETWDETECT_KILLS", "5"))
"""How often the monitor is killed; acceptance wants 20."""


def monitor(url, form, output, first):
    """A program that treats its results as the monitor does; they are numbered, from *first* on."""
    return subprocess.Popen(
        [sys.executable, "-c", MONITOR, url, form, str(output), str(first)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="tests/live/inside has the monitor itself")
@pytest.mark.parametrize("way", ["http json", "syslog+tcp csv"])
def test_of_a_monitor_killed_while_its_receiver_is_away_every_record_arrives_in_order(
    way, tmp_path, free_port, stream_server, http_server
):
    protocol, form = way.split()
    chance, output, first = random.Random(17), tmp_path / "hits", 0
    url = f"{protocol}://{HOST}:{free_port}"
    for _ in range(KILLS):
        with monitor(url, form, output, first) as process:
            process.stdout.readline()
            time.sleep(chance.random() / 4)
            process.kill()
            first += 2 + len(process.stdout.readlines())  # one may be written and not printed
    spool = output if form == "json" else tmp_path / "hits.spool"
    written = written_ids(spool)
    assert len(written) == len(set(written)) >= KILLS
    server = http_server(free_port) if protocol == "http" else stream_server(free_port)
    with monitor(url, form, output, first) as process:
        wait_for(lambda: set(written) <= set(received_ids(server)))
        process.kill()
        process.stdout.read()
    assert list(dict.fromkeys(received_ids(server)))[: len(written)] == written


def test_beside_another_format_the_spool_has_the_same_records(tmp_path, stream_server, monkeypatch):
    server = stream_server()
    monkeypatch.setattr("etwdetect.cli.results._SPOOL_LIMIT", 5_000)
    choices = Choices(form="classic", output=tmp_path / "hits.txt", to=(f"syslog+tcp://{HOST}:{server.port}",))
    results = Results(choices, Filter())
    with results.open(live=True, rotation=Rotation()):
        for number in range(10):
            results.show(numbered(number))
    assert len((tmp_path / "hits.txt").read_text().splitlines()) == 10
    assert written_ids(tmp_path / "hits.txt.spool") == received_ids(server)
    assert server.frames.qsize() == 10
    assert {path.name for path in tmp_path.iterdir()} >= {"hits.txt.spool.1", "hits.txt.spool.cursor"}


def written_ids(output):
    rotated = sorted(output.parent.glob(f"{output.name}.*[0-9]"), key=lambda path: -int(path.suffix[1:]))
    return [json.loads(line)["RecordId"] for path in [*rotated, output] for line in path.read_text().splitlines()]


def received_ids(server):
    if isinstance(server, HttpServer):
        return [json.loads(line)["RecordId"] for *_, body in list(server.requests) for line in body.splitlines()]
    return [re.search(rb'RecordId="(\w+)"', frame)[1].decode() for frame in list(server.frames.queue)]
