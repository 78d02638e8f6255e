"""`etwdetect monitor` as a user starts it, on a machine where everything goes well."""

import csv
import json
import re
import socket
import time
from pathlib import Path

import pytest

from etwdetect.core import filetime
from etwdetect.core.events import ImageLoad, ProcessStart, ProcessStop, ThreadStart
from etwdetect.live.clock import filetime_now
from etwdetect.results.rotation import GrowingFile, Rotation
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import SimImage, SimProcess
from parity_tests.simulators.simetw import FlushFlag, Setting
from tests.running import CTRL_BREAK, CTRL_C, CTRL_CLOSE, CTRL_LOGOFF, ids

ATTACKER, VICTIM = 400_004, 400_008  # which no process of this Wine has
ATTACKERS_THREAD = 400_012
SAMPLES = Path(__file__).resolve().parents[3] / "samples"
SUMMARY = re.compile(r"etwdetect: ([\d,]+) remote threads?.* in ([\d,]+) thread starts?, .*")


def thread(tid, target=VICTIM, address=0x7FF6_1234_5678):
    return encode(ThreadStart(0, ATTACKER, ATTACKERS_THREAD, target, tid, address))


def process(pid, image=r"\Device\HarddiskVolume3\Windows\notepad.exe"):
    return encode(ProcessStart(0, ATTACKER, ATTACKERS_THREAD, pid, ATTACKER, image=image))


def long_ago():
    return filetime.from_datetime(filetime.utc(filetime_now())) - 36_000_000_000


def test_a_remote_thread_is_a_line_at_once(machine, monitor):
    watching = monitor()
    for tid in (1, 2):
        machine.log([thread(tid)])
        assert ids(watching.line())[:4] == (ATTACKER, ATTACKERS_THREAD, VICTIM, tid)


def test_a_first_thread_is_none(machine, monitor):
    watching = monitor()
    machine.log([process(VICTIM), thread(1), thread(2)])
    status, lines, errors = watching.stop()
    assert [ids(line)[3] for line in lines] == [2]
    assert SUMMARY.fullmatch(errors[-1]).groups() == ("1", "2")
    assert status == 0


def test_events_that_come_out_of_order_from_two_processors_are_put_in_order(machine, monitor):
    watching = monitor()
    started, first = process(VICTIM), thread(1)
    now = filetime_now()
    machine.log([first._replace(time=now), started._replace(time=now - 10_000)])
    status, lines, _ = watching.stop()
    assert (status, lines) == (0, [])


def test_no_session_is_left_at_the_end(machine, monitor):
    watching = monitor()
    assert len(machine.sessions()) == 1
    assert watching.stop()[0] == 0
    assert machine.sessions() == []


def test_it_ends_by_itself_after_its_duration(machine, monitor):
    assert monitor("--duration", 0.5).end()[0] == 0
    assert machine.sessions() == []


def test_what_was_in_the_buffers_at_the_end_is_shown(machine, monitor):
    machine.set(Setting.MILLISECOND_FLUSH, FlushFlag.REFUSED)  # so that a buffer waits for a second
    watching = monitor()
    machine.log([thread(1)])
    status, lines, errors = watching.stop()
    assert [ids(line)[3] for line in lines] == [1]
    assert SUMMARY.fullmatch(errors[-1]).group(1) == "1"
    assert status == 0


@pytest.mark.parametrize("event", [CTRL_C, CTRL_BREAK, CTRL_CLOSE], ids=["ctrl-c", "ctrl-break", "close"])
def test_every_way_to_stop_it_ends_the_session_and_prints_the_summary(machine, monitor, event):
    watching = monitor()
    machine.log([thread(1)])
    watching.line()
    watching.press(event)
    status, lines, errors = watching.end()
    assert (status, lines) == (0, [])
    assert SUMMARY.fullmatch(errors[-1]).group(1) == "1"
    assert machine.sessions() == []


def test_a_user_who_logs_off_ends_no_monitor(machine, monitor):
    watching = monitor()
    watching.press(CTRL_LOGOFF)  # as a service, which alone is told
    time.sleep(1)
    machine.log([thread(1)])
    assert ids(watching.line())[3] == 1
    assert watching.stop()[0] == 0


def test_a_dead_output_pipe_ends_it_quietly(machine, monitor):
    watching = monitor(reading=False)
    machine.log([thread(1)])
    watching.process.stdout.readline()
    watching.process.stdout.close()
    machine.log([thread(2)])
    status, _, errors = watching.end()
    assert status == 0
    assert len(errors) == 1
    assert SUMMARY.fullmatch(errors[0])
    assert machine.sessions() == []


def test_formats_and_filters_are_those_of_scan(machine, monitor):
    watching = monitor("--format", "json", "--target-pid", VICTIM)
    machine.log([thread(1), thread(2, target=VICTIM + 4)])
    status, lines, errors = watching.stop()
    (record,) = map(json.loads, lines)
    assert record["Detector"] == "etw"
    assert (record["SourceProcessId"], record["TargetProcessId"]) == (ATTACKER, VICTIM)
    assert "(1 filtered out)" in errors[-1]
    assert status == 0


def test_exit_code_says_that_something_was_found(machine, monitor):
    watching = monitor("--exit-code")
    machine.log([thread(1)])
    assert watching.stop()[0] == 10


def test_the_names_of_processes_that_were_there_before_are_known(machine, monitor):
    machine.set_processes(
        [
            SimProcess(ATTACKER, r"\Device\HarddiskVolume3\evil.exe", create_time=long_ago()),
            SimProcess(VICTIM, r"\Device\HarddiskVolume3\Windows\victim.exe", create_time=long_ago()),
        ]
    )
    watching = monitor()
    machine.log([thread(1)])
    *_, behind = ids(watching.line())
    assert "evil.exe -> victim.exe" in behind


def test_the_module_of_a_start_address_is_known(machine, monitor):
    path = r"\Device\HarddiskVolume3\Windows\System32\evil.dll"
    watching = monitor("--format", "json")
    image = ImageLoad(0, VICTIM, 0x7FF6_1234_0000, 0x10000, image=path)
    machine.log([process(VICTIM), encode(image), thread(1), thread(2)])
    record = json.loads(watching.line())
    assert record["NewThreadId"] == 2
    assert record["StartModule"].endswith("evil.dll")
    assert record["StartModuleOffset"] == "0x5678"


def test_an_image_of_an_earlier_life_of_the_process_id_is_none_of_this_one(machine, monitor):
    watching = monitor("--format", "json")
    image = encode(ImageLoad(0, VICTIM, 0x7FF6_1234_0000, 0x10000, image=r"\old.dll"))
    machine.log([process(VICTIM), image, encode(ProcessStop(0, VICTIM))])
    machine.log([process(VICTIM), thread(1), thread(2)])
    assert "StartModule" not in json.loads(watching.line())


def test_a_recording_replayed_gives_the_lines_of_its_scan(machine, monitor):
    watching = monitor("--format", "classic")
    machine.replay_trace(SAMPLES / "windbg-attach.etl", 1000.0)
    status, lines, _ = watching.stop()
    assert [ids(line)[:4] for line in lines] == [(7392, 4788, 8336, 9384), (7392, 13092, 8336, 13288)]
    assert status == 0


def test_the_kernel_logger_lists_what_is_there_with_command_lines(machine, monitor):
    dll = SimImage(0x7FF6_1234_0000, 0x10000, r"\Device\HarddiskVolume3\Windows\System32\known.dll")
    machine.set_processes(
        [
            SimProcess(ATTACKER, r"\Device\HarddiskVolume3\evil.exe", command_line="evil.exe --now"),
            SimProcess(VICTIM, r"\Device\HarddiskVolume3\victim.exe", threads=((7, 0x1000),), images=(dll,)),
        ]
    )
    watching = monitor("--kernel-logger", "--format", "json")
    (session,) = machine.sessions()
    assert session.name != "NT Kernel Logger"
    assert session.mode & 0x0200_0000
    from etwdetect.core.raw import THREAD  # noqa: PLC0415
    from parity_tests.simulators.packed_events import classic  # noqa: PLC0415

    values = {"ProcessId": VICTIM, "TThreadId": 8, "Win32StartAddr": 0x7FF6_1234_5678}
    machine.log([classic(THREAD, 1, values)._replace(pid=ATTACKER, tid=ATTACKERS_THREAD)])
    record = json.loads(watching.line())
    assert record["SourceCommandLine"] == "evil.exe --now"
    assert record["TargetImage"].endswith("victim.exe")
    assert record["StartModule"].endswith("known.dll")
    assert record["Evidence"] == []


def test_a_file_that_is_large_is_moved_aside_and_each_has_its_heading(machine, monitor, tmp_path):
    output = tmp_path / "threads.csv"
    watching = monitor("--output", output, "--format", "csv", "--rotate", 0.002, "--keep", 50)
    machine.log([thread(tid) for tid in range(100, 130)])
    assert watching.stop()[0] == 0
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2
    rows = [list(csv.DictReader(file.read_text("utf-8").splitlines())) for file in files]
    assert {int(row["NewThreadId"]) for table in rows for row in table} == set(range(100, 130))
    assert all(file.stat().st_size < 4096 for file in files)


def test_a_file_that_another_program_reads_grows_on_until_it_can_be_moved(tmp_path):
    def there():
        return {file.suffix: file.read_text() for file in tmp_path.iterdir()}

    path = tmp_path / "threads.txt"
    file = GrowingFile(path, Rotation(1, keep=3))
    file.write("1")
    file.rotate()
    file.write("2")
    with path.open():
        file.rotate()
        assert there() == {".txt": "2", ".1": "1"}
    file.rotate()
    assert there() == {".txt": "", ".1": "2", ".2": "1"}
    file.write("3")
    with (tmp_path / "threads.txt.1").open():
        for _ in range(4):  # nor does one that was moved keep others from staying
            file.rotate()
        file.write("4")
        assert there() == {".txt": "4", ".0": "3", ".1": "2", ".3": "1"}
    file.rotate()
    assert there() == {".txt": "4", ".1": "3", ".2": "2", ".3": "1"}
    file.close()


def test_to_rotate_what_is_no_file_is_refused(run):
    status, _, errors = run("monitor", "--rotate", 1).end()
    assert status == 2
    assert "--rotate needs --output FILE" in errors[-1]


def test_all_events_can_be_kept_and_scanned_to_the_same_end(machine, monitor, run, tmp_path):
    log = tmp_path / "events.jsonl"
    watching = monitor("--events", log, "--format", "json")
    image = ImageLoad(0, VICTIM, 0x7FF6_1234_0000, 0x10000, image=r"\Device\HarddiskVolume3\evil.dll")
    machine.log([process(VICTIM), encode(image), thread(1), thread(2)])
    status, (live,), _ = watching.stop()
    assert status == 0
    status, (scanned,), _ = run("scan", log, "--format", "json").end()
    assert status == 0
    names = "Time", "SourceProcessId", "TargetProcessId", "NewThreadId", "StartModule", "Evidence", "Computer"
    live, scanned = json.loads(live), json.loads(scanned)
    assert [scanned[name] for name in names] == [live[name] for name in names]


def test_a_log_of_events_that_cannot_be_written_is_told(run, machine, tmp_path):
    status, _, errors = run("monitor", "--events", tmp_path / "no" / "such.jsonl").end()
    assert status == 1
    assert re.match(r"etwdetect: the events cannot be written to .*such\.jsonl: ", errors[-1])
    assert machine.sessions() == []


def test_statistics_are_printed_as_often_as_asked_for(monitor):
    watching = monitor("--stats", 0.2)
    for _ in range(2):
        assert re.match(r"etwdetect: [\d,]+ events? \([\d,]+ a second\); thread starts: ", watching.error())


@pytest.mark.parametrize("flag", [FlushFlag.REFUSED, FlushFlag.IGNORED], ids=["refused", "ignored"])
def test_a_windows_without_the_millisecond_flush_takes_a_second_more_at_the_most(machine, monitor, flag):
    machine.set(Setting.MILLISECOND_FLUSH, flag)
    watching = monitor()
    time.sleep(2)
    machine.log([thread(1)])
    began = time.monotonic()
    watching.line()
    assert time.monotonic() - began < 5


def test_a_burst_is_not_lost(machine, monitor):
    watching = monitor()
    machine.repeat([thread(1, target=ATTACKER)], 20_000)
    machine.log([thread(2)])
    status, lines, errors = watching.stop()
    assert [ids(line)[3] for line in lines] == [2]
    assert SUMMARY.fullmatch(errors[-1]).group(2) == "20,001"
    assert status == 0


def test_receivers_are_told_how_the_monitor_is(machine, monitor):
    machine.set(Setting.MILLISECOND_FLUSH, FlushFlag.REFUSED)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        port = receiver.getsockname()[1]
        watching = monitor("--to", f"syslog+udp://127.0.0.1:{port}", "--heartbeat", 0.5)
        assert [next_status(receiver) for _ in range(3)] == ["degraded", "started", "heartbeat"]
        machine.stop_session(machine.sessions()[0].name)
        told = [next_status(receiver) for _ in range(20)]
        assert [each for each in told if each != "heartbeat"] == ["session-taken", "degraded", "started", "lost"]
        watching.stop()
        while next_status(receiver) != "stopped":
            pass


def next_status(receiver):
    return re.search(rb' Status="([a-z-]+)"', receiver.recv(9_000))[1].decode()
