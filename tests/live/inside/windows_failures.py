"""`etwdetect monitor` on a machine where something goes wrong: it says so, and leaves nothing behind."""

import itertools
import os
import re
import subprocess
import sys

import pytest

from etwdetect.core.events import ThreadStart
from etwdetect.live import sessions
from etwdetect.live.errors import CallbackError, SessionGoneError
from etwdetect.live.monitor import Monitor
from etwdetect.live.ownership import Owner, name_of, this_process
from etwdetect.live.session import Session
from etwdetect.live.settings import SessionConfig
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.simetw import NEVER_DRAINED, Call, Setting
from tests.running import ids, until

ATTACKER, VICTIM = 400_004, 400_008
NO_SESSION = re.compile(r"etwdetect: (starting|opening) the session etwdetect-monitor-\d+-\d+: (.*)")


def thread(tid):
    return encode(ThreadStart(0, ATTACKER, 400_012, VICTIM, tid, 0x1000))


@pytest.fixture
def session_of_a_dead_process(machine):  # noqa: ARG001
    """A session that looks as if a monitor had crashed; its process has ended."""
    dead = subprocess.Popen((sys.executable, "-c", ""), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    dead.communicate()
    return start(name_of(Owner("monitor", dead.pid, 1_700_000_000_000)))


def start(name):
    started = Session(name, SessionConfig())
    started.start()
    return started


def names(machine):
    return [each.name for each in machine.sessions()]


# -- it can't begin


def test_who_is_not_elevated_is_told_so(machine, run):
    machine.set(Setting.ELEVATED, 0)
    status, lines, errors = run("monitor").end()
    assert (status, lines) == (4, [])
    assert re.fullmatch(r"etwdetect: .*: access denied; run this in a terminal opened with .*", errors[0])
    assert len(errors) == 1


@pytest.mark.parametrize("call", [Call.START, Call.ENABLE])
def test_no_session_left_is_told(machine, run, call):
    machine.fail(call, 1450)
    status, lines, errors = run("monitor").end()
    assert (status, lines) == (1, [])
    assert "the limit of sessions is reached" in NO_SESSION.fullmatch(errors[0])[2]
    assert len(errors) == 1
    assert machine.sessions() == []


@pytest.mark.parametrize("call", [Call.ENABLE, Call.OPEN])
def test_a_failure_after_the_start_leaves_no_session_behind(machine, run, call):
    machine.fail(call, 31)
    status, lines, errors = run("monitor").end()
    assert (status, lines) == (1, [])
    assert NO_SESSION.fullmatch(errors[0])[2].endswith("(31)")
    assert machine.sessions() == []


def test_a_provider_that_lists_no_processes_is_no_failure(machine, monitor):
    # CAPTURE_STATE is the second call of EnableTraceEx2; the first must succeed.
    watching = monitor()
    machine.log([thread(1)])
    assert watching.stop()[0] == 0


# -- sessions of others


def test_the_session_of_a_crashed_monitor_is_replaced(machine, session_of_a_dead_process, monitor):
    watching = monitor()
    assert session_of_a_dead_process.name not in names(machine)
    assert len(machine.sessions()) == 1
    assert session_of_a_dead_process.name in watching.error()


@pytest.mark.parametrize(
    "name", ["NT Kernel Logger", "etwdetect", "etwdetect-monitor-1", "my etwdetect-monitor-1-1"]
)
def test_the_session_of_somebody_else_is_not_touched(machine, monitor, name):
    start(name)
    assert monitor("--duration", 0.5).end()[0] == 0
    assert names(machine) == [name]


def test_a_second_monitor_leaves_the_first_one_alone(machine, monitor):
    first = monitor()
    second = monitor()
    machine.log([thread(1)])
    for watching in (first, second):
        assert ids(watching.line())[3] == 1
    assert len(set(names(machine))) == 2


def test_a_process_id_used_again_does_not_save_a_dead_processs_session(machine, monitor):
    now = this_process("monitor")
    reused = start(name_of(now._replace(started=now.started - 1000)))
    ours = start(name_of(now._replace(purpose="record")))
    monitor("--duration", 0.5).end()
    assert names(machine) == [ours.name]
    assert reused.name != ours.name


# -- it goes wrong on the way


def test_events_lost_are_told_and_every_later_detection_says_so(machine, monitor):
    watching = monitor()
    machine.set(Setting.LOGGER_DELAY, NEVER_DRAINED)
    machine.repeat([thread(1)._replace(pid=VICTIM)], 500_000)
    machine.set(Setting.LOGGER_DELAY, 0)
    until(
        lambda: any("lost: remote threads" in line for line in list(watching.errors.queue)), "a word of the loss"
    )
    tids = itertools.count(2)

    def create_a_thread():
        # Lost too, as long as the buffers are full, or the monitor's own queue behind them.
        machine.log([thread(next(tids))])
        return list(watching.lines.queue)

    for line in until(create_a_thread, "a thread"):
        assert re.search(r"\[.*events-lost:\d+", line)
    status, _, errors = watching.stop()
    assert status == 3
    assert not errors[-1].endswith("; 0 events and 0 buffers lost")


@pytest.mark.parametrize("how", ["stopped", "disabled"])
def test_a_session_that_is_taken_away_is_told_of_and_had_back(machine, monitor, how):
    watching = monitor()
    (name,) = names(machine)
    if how == "stopped":
        machine.stop_session(name)
        assert watching.error() == f"etwdetect: the session {name} was stopped by another program"
    else:
        machine.disable_provider(name)
        assert watching.error() == (
            f"etwdetect: the provider was disabled in the session {name} by another program"
        )
    until(lambda: any("was restarted" in line for line in list(watching.errors.queue)), "the session again")
    machine.log([thread(1)])
    assert ids(watching.line())[3:] == (1, "[events-lost:1]")


def test_where_windows_does_not_show_what_is_enabled_the_session_is_not_taken_for_a_lost_one(machine, monitor):
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 0)
    watching = monitor("--duration", 2.5)
    status, _, (told, summary) = watching.end()
    assert status == 0
    assert "Windows does not report what is enabled" in told
    assert summary.endswith("0 events and 0 buffers lost")


@pytest.mark.parametrize("how", ["stopped", "disabled"])
def test_strict_ends_with_status_3_instead(machine, monitor, how):
    watching = monitor("--strict")
    (name,) = names(machine)
    if how == "stopped":
        machine.stop_session(name)
    else:
        machine.disable_provider(name)
    status, _, errors = watching.end()
    assert status == 3
    assert "by another program" in errors[0]
    assert machine.sessions() == []


def test_a_session_that_cannot_be_had_back_at_once_is_tried_for_again(machine, monitor):
    watching = monitor()
    machine.fail(Call.START, 1450, 1)
    machine.stop_session(names(machine)[0])
    until(lambda: any("trying again" in line for line in list(watching.errors.queue)), "an attempt that failed")
    until(lambda: any("was restarted" in line for line in list(watching.errors.queue)), "the session again")


def test_a_processtrace_that_ends_by_itself_is_noticed(machine, monitor):
    watching = monitor()
    machine.fail(Call.PROCESS, 31)
    assert "Windows stopped delivering" in watching.error()
    until(lambda: any("was restarted" in line for line in list(watching.errors.queue)), "the session again")


def test_an_exception_in_the_callback_ends_the_monitor_and_its_session(machine):
    monitor = Monitor(lambda: False, print)
    turns = monitor.poll()
    next(turns)
    assert len(machine.sessions()) == 1
    monitor.queue.on_record("no address")
    with pytest.raises(CallbackError, match="TypeError"):
        list(turns)
    assert machine.sessions() == []


def test_a_query_of_a_session_that_is_gone_is_an_error(machine):
    ours = start(name_of(this_process("monitor")))
    assert sessions.names() == [ours.name]
    machine.stop_session(ours.name)
    with pytest.raises(SessionGoneError):
        ours.query()


# -- it is killed


KILLS = int(os.environ.get("ETWDETECT_KILLS", "3"))


def test_after_a_kill_the_next_monitor_goes_on_and_the_file_has_whole_lines(machine, monitor, tmp_path):
    output = tmp_path / "threads.jsonl"
    for number in range(KILLS):
        watching = monitor("--output", output, "--format", "json")
        machine.log([thread(number * 10 + each) for each in range(10)])
        until(lambda: output.exists() and output.stat().st_size, "a line in the file")
        watching.process.kill()
        watching.end()
        assert len(machine.sessions()) == 1
    assert monitor("--output", output, "--format", "json", "--duration", 0.5).end()[0] == 0
    assert machine.sessions() == []
    text = output.read_text("utf-8")
    assert text.endswith("\n")
    assert all(line.startswith("{") and line.endswith("}") for line in text.splitlines())
