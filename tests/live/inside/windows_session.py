"""A session's start: which step failed, what is given up, and how it gets on with other sessions."""

import os
import shutil
import subprocess

import pytest

from etwdetect.core.errors import NotElevatedError
from etwdetect.core.events import ThreadStart
from etwdetect.core.rule import RemoteThread
from etwdetect.live import ownership, system
from etwdetect.live.callback import RecordQueue
from etwdetect.live.capture import Capture
from etwdetect.live.clock import filetime_now
from etwdetect.live.consumer import Consumer
from etwdetect.live.errors import LiveError, NoSessionLeftError, RefusedError
from etwdetect.live.lookups import Lookups
from etwdetect.live.monitor import Monitor
from etwdetect.live.session import Session
from etwdetect.live.settings import AppliedSettings, Extra, SessionConfig
from etwdetect.live.stream import PER_PROCESSOR_SECONDS
from etwdetect.sources.decode.encode import encode
from etwdetect.windows import accounts, processes
from parity_tests.simulators.simetw import ALWAYS, NEVER_DRAINED, Call, Setting
from tests.running import ids, until
from tests.simetw.inside import tracing

MILLISECONDS, INDEPENDENT, ONE_STREAM = 0x10, 0x0800_0000, 0x1000_0000
ATTACKER, VICTIM = 400_004, 400_008


def thread(tid):
    return encode(ThreadStart(0, ATTACKER, 400_012, VICTIM, tid, 0x1000))


@pytest.fixture
def session(machine):  # noqa: ARG001
    return Session(ownership.new_name("monitor"), SessionConfig())


# -- one step at a time


@pytest.mark.parametrize(
    ("refusals", "gone"),
    [(0, 0), (1, MILLISECONDS), (2, MILLISECONDS | INDEPENDENT), (3, MILLISECONDS | INDEPENDENT | ONE_STREAM)],
)
def test_starttrace_gives_up_one_setting_at_a_time(machine, session, refusals, gone):
    machine.fail(Call.START, 87, refusals)
    session.start()
    (started,) = machine.sessions()
    assert started.mode == (0x100 | MILLISECONDS | INDEPENDENT | ONE_STREAM) & ~gone
    assert len(session.applied.missing) == refusals
    assert all(each.endswith("(StartTrace refused it)") for each in session.applied.missing)
    assert session.auto_flush == (refusals == 0)
    assert session.per_processor == (refusals == 3)
    assert started.flush_timer == (100 if refusals == 0 else 1)


def test_a_refused_filter_costs_the_filter_alone(machine, session):
    machine.fail(Call.ENABLE, 87, 1)
    session.start()
    assert session.applied.missing == ["the event-id filter (EnableTraceEx2 refused it)"]
    assert machine.sessions()[0].mode & MILLISECONDS
    assert session.reports_enablement


@pytest.mark.parametrize(("call", "name"), [(Call.START, "StartTrace"), (Call.ENABLE, "EnableTraceEx2")])
def test_what_is_refused_to_the_end_names_the_call_and_leaves_no_session(machine, session, call, name):
    machine.fail(call, 87, ALWAYS)
    with pytest.raises(RefusedError, match=rf"starting the session {session.name}: {name}: .*\(87\)") as caught:
        session.start()
    assert caught.value.code == 87
    assert machine.sessions() == []


def test_a_flag_that_windows_ignored_is_read_back(machine):  # noqa: ARG001
    applied = AppliedSettings(SessionConfig())
    applied.read_back(0x100 | MILLISECONDS | ONE_STREAM)
    assert applied.missing == ["independent session mode (Windows ignored it)"]
    assert Extra.INDEPENDENT not in applied.extras


@pytest.mark.parametrize("elevated", [True, False])
def test_error_5_means_not_elevated_only_where_that_is_so(machine, session, elevated):
    machine.fail(Call.START, 5)
    machine.set(Setting.ELEVATED, elevated)
    assert accounts.is_elevated() == elevated
    with pytest.raises(RefusedError if elevated else NotElevatedError):
        session.start()


def test_1450_is_the_limit_of_sessions(machine, session):
    machine.fail(Call.START, 1450)
    with pytest.raises(NoSessionLeftError, match="StartTrace"):
        session.start()


def test_statistics_tell_what_the_session_does_without(machine, run):
    machine.fail(Call.START, 87, 1)
    _, _, errors = run("monitor", "--duration", 1.5, "--stats", 0.3).end()
    assert any(
        each.endswith("; without the flush timer in milliseconds (StartTrace refused it)") for each in errors
    )


# -- names


def test_a_start_waits_until_its_name_is_free(machine, session):
    machine.fail(Call.START, 183, 3)
    session.start()
    assert session.applied.missing == []
    assert [each.name for each in machine.sessions()] == [session.name]


def test_a_name_that_stays_taken_is_an_error_that_says_so(machine, session):
    session.start()
    with pytest.raises(RefusedError, match=r"\(183\); a session of this name exists"):
        Session(session.name, SessionConfig()).start()
    assert len(machine.sessions()) == 1


def test_each_session_of_a_process_has_a_name_of_its_own():
    names = [ownership.new_name("monitor") for _ in range(3)]
    assert len(set(names)) == 3
    assert {ownership.owner_of(name) for name in names} == {ownership.this_process("monitor")}


def test_a_restart_uses_another_name_at_once(machine, monitor):
    machine.set(Setting.NAME_HELD, 60_000)
    watching = monitor()
    (before,) = machine.sessions()
    machine.stop_session(before.name)
    until(lambda: any("was restarted" in line for line in list(watching.errors.queue)), "the session again")
    (after,) = machine.sessions()
    assert after.name == f"{before.name}-2"
    machine.log([thread(1)])
    assert ids(watching.line())[3] == 1


# -- what it needs


def test_the_list_of_processes_is_asked_for_right_before_processtrace(machine, monkeypatch):  # noqa: ARG001
    calls = []
    for kind, name in ((Session, "capture_state"), (Consumer, "start")):
        original = getattr(kind, name)

        def spy(self, original=original, name=name):
            calls.append(name)
            return original(self)

        monkeypatch.setattr(kind, name, spy)
    capture = Capture(SessionConfig(), RecordQueue())
    capture.start()
    capture.close()
    assert calls == ["capture_state", "start"]


def test_the_status_of_processtrace_is_told(machine, monitor):
    watching = monitor()
    machine.fail(Call.PROCESS, 31)
    assert "Windows stopped delivering the session" in (told := watching.error())
    assert "ProcessTrace: " in told
    assert told.endswith("(31)")


def test_a_processtrace_that_fails_at_once_is_no_complete_run(machine, run):
    machine.fail(Call.PROCESS, 5, ALWAYS)
    status, _, errors = run("monitor", "--duration", 0.3).end()
    assert status == 3
    assert "ProcessTrace: " in errors[0]


def test_a_privilege_is_enabled_where_it_is_held():
    assert accounts.enable_privilege(accounts.PROFILE_PRIVILEGE)
    assert not accounts.enable_privilege("SeNoSuchPrivilege")


def test_another_session_without_room_costs_an_independent_one_nothing(machine, monitor):
    machine.set(Setting.CPUS, 1)
    _, full, _ = tracing.start("Full", BufferSize=4, MinimumBuffers=2, MaximumBuffers=2, FlushTimer=60)
    tracing.enable(full)
    watching = monitor()
    machine.set(Setting.LOGGER_DELAY, NEVER_DRAINED)
    machine.log([thread(tid) for tid in range(1, 201)])
    machine.set(Setting.LOGGER_DELAY, 0)
    assert {each.name: each.events_lost > 0 for each in machine.sessions()}["Full"]
    status, lines, _ = watching.stop()
    assert status == 0
    assert [ids(line)[3] for line in lines] == list(range(1, 201))


def test_each_processor_may_have_its_own_buffers_and_the_window_is_wider(machine):
    stopping = []
    monitor = Monitor(lambda: bool(stopping), print, config=SessionConfig(per_processor=True))
    turns = monitor.poll()
    next(turns)
    (started,) = machine.sessions()
    assert started.mode & ONE_STREAM == 0
    assert monitor.stream.window.width == PER_PROCESSOR_SECONDS
    stopping.append(True)
    list(turns)


def test_who_may_not_list_sessions_may_still_start_one(machine, run, monkeypatch):  # noqa: ARG001
    def refused():
        raise LiveError("refused")

    monkeypatch.setattr("etwdetect.live.sessions.names", refused)
    turns = Monitor(lambda: True, print).poll()
    assert list(turns)


# -- lsass.exe


def test_lsass_is_opened_for_no_more_than_its_name(machine, tmp_path, monkeypatch):  # noqa: ARG001
    program = tmp_path / "LSASS.exe"
    shutil.copy(os.path.join(os.environ["SYSTEMROOT"], "system32", "cmd.exe"), program)  # noqa: PTH118
    asked = []
    kernel32 = processes.kernel32()
    original = kernel32.OpenProcess

    class Spy:
        def __getattr__(self, name):
            return getattr(kernel32, name)

        def OpenProcess(self, access, inherit, pid):  # noqa: N802 (Windows' name)
            asked.append((pid, access))
            return original(access, inherit, pid)

    monkeypatch.setattr(processes, "kernel32", Spy)
    memory_read = []
    monkeypatch.setattr("psutil.Process.cmdline", lambda self: memory_read.append(self.pid))
    with subprocess.Popen((program,), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        found = system.process(child.pid, 1)
        told = list(Lookups().about(RemoteThread(filetime_now(), child.pid, 1, child.pid, 2)))
        child.kill()
    assert found.image.endswith("\\LSASS.exe")
    assert (found.command_line, found.sid) == (None, None)
    assert "ImageLoad" not in {type(event).__name__ for event in told}
    assert child.pid not in memory_read
    assert {access for pid, access in asked if pid == child.pid} == {processes.QUERY_LIMITED}
