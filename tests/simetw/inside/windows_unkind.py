"""Where Windows is unkind: held names, losses of others, refused lists; and what programs do themselves."""

import ctypes as ct
import subprocess
import sys
from pathlib import Path

import pytest
from etw import tdh
from etw.etw import get_keywords_bitmask
from etw.GUID import GUID

from etwdetect.core.raw import KERNEL_PROCESS
from parity_tests.simulators.packed_events import SimProcess
from parity_tests.simulators.simetw import NEVER_DRAINED, Setting
from tests.simetw.inside.tracing import (
    CAPTURE_STATE,
    ONE_BUFFER_FOR_ALL,
    REAL_TIME,
    STOP,
    Properties,
    consuming,
    control,
    enable,
    guid,
    query,
    start,
    thread_start,
    tid_of,
    until,
)

INDEPENDENT = 0x0800_0000
ACCESS_DENIED, EXISTS = 5, 183
PROGRAM = Path(__file__).with_name("own_activity.py")


def test_the_name_of_a_stopped_session_stays_taken(machine):
    machine.set(Setting.NAME_HELD, 600_000)
    start("Name")
    assert control("Name", STOP)[0] == 0
    assert start("nAME")[0] == EXISTS


def test_it_stays_taken_for_a_moment_only(machine):
    machine.set(Setting.NAME_HELD, 50)
    start("Name")
    assert control("Name", STOP)[0] == 0
    until(lambda: start("Name")[0] == 0)


def test_a_name_can_be_free_at_once(machine):
    machine.set(Setting.NAME_HELD, 0)
    start("Name")
    assert control("Name", STOP)[0] == 0
    assert start("Name")[0] == 0


def delivered_beside_a_full_session(machine, mode):
    """The thread ids that a session of *mode* gets while another one of the provider has no room."""
    machine.set(Setting.CPUS, 1)
    _, full, _ = start("Full", BufferSize=4, MinimumBuffers=2, MaximumBuffers=2, FlushTimer=60)
    _, other, _ = start("Other", LogFileMode=REAL_TIME | mode, BufferSize=256, FlushTimer=60)
    enable(full)
    enable(other)
    machine.set(Setting.LOGGER_DELAY, NEVER_DRAINED)
    machine.log([thread_start(tid) for tid in range(200)])
    assert query("Full").EventsLost > 0
    assert query("Other").EventsLost == 0, "nobody counts it"
    machine.set(Setting.LOGGER_DELAY, 0)
    with consuming("Other") as consumer:
        control("Other", STOP)
        consumer.wait_for_end()
    return [tid_of(event) for event in consumer.events]


def test_an_event_that_one_session_has_no_room_for_reaches_no_other(machine):
    got = delivered_beside_a_full_session(machine, 0)
    assert 0 < len(got) < 200
    assert got == list(range(len(got)))


def test_an_independent_session_loses_nothing_of_others(machine):
    assert delivered_beside_a_full_session(machine, INDEPENDENT) == list(range(200))


def test_sessions_may_be_told_not_to_share_losses(machine):
    machine.set(Setting.SHARED_LOSS, 0)
    assert delivered_beside_a_full_session(machine, 0) == list(range(200))


@pytest.mark.parametrize(("mode", "lost"), [(ONE_BUFFER_FOR_ALL, True), (0, False)])
def test_one_stream_of_buffers_takes_only_so_many_events_a_second(machine, mode, lost):
    machine.set(Setting.ONE_STREAM_LIMIT, 10)
    _, handle, _ = start("One", LogFileMode=REAL_TIME | mode)
    enable(handle)
    machine.log([thread_start(tid) for tid in range(100)])
    assert (query("One").EventsLost >= 80) == lost


@pytest.mark.parametrize(("refused", "error"), [(1, ACCESS_DENIED), (0, 0)])
def test_who_is_not_elevated_lists_no_sessions(machine, refused, error):
    start("Theirs")
    machine.set(Setting.ELEVATED, 0)
    machine.set(Setting.LISTING_REFUSED, refused)
    properties = Properties()
    pointers = (ct.c_void_p * 1)(ct.addressof(properties))
    count = ct.c_ulong()
    assert ct.windll.advapi32.QueryAllTracesW(pointers, 1, ct.byref(count)) == error
    assert count.value == 0


@pytest.mark.parametrize(("build", "listed"), [(10240, []), (10586, [15])])
def test_processes_are_listed_from_build_10586_on(machine, build, listed):
    machine.set(Setting.BUILD, build)
    machine.set_processes([SimProcess(4, "System")])
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        assert enable(handle, code=CAPTURE_STATE) == 0
        machine.log([thread_start(1)])
        assert [event.id for event in consumer.wait_for(len(listed) + 1)] == [*listed, 3]


# -- what programs do themselves


def run(*arguments):
    """What own_activity.py prints: it gives no orders to the machine, so what it does is logged."""
    command = (sys.executable, PROGRAM, *arguments)
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("build", "start_fields", "stop_fields"),
    [(7601, 5, 9), (9600, 6, 15), (10586, 10, 15), (19045, 15, 16), (26100, 16, 16), (28000, 18, 16)],
)
def test_a_programs_child_is_logged_as_it_happens_and_decoded(machine, build, start_fields, stop_fields):
    machine.set(Setting.BUILD, build)
    assert run("provider") == [
        "PROCESSSTART:" + str(start_fields), "THREADSTART:10", "IMAGELOAD:7", "THREADSTOP:11",
        "PROCESSSTOP:" + str(stop_fields), "own-thread",
    ]  # fmt: skip


def test_the_one_kernel_logger_is_told_too(machine):  # noqa: ARG001
    assert run("kernel") == ["PROCESS:12"]


def test_nothing_happens_by_itself_where_that_is_switched_off(machine):
    machine.set(Setting.ACTIVITY, 0)
    assert run("provider", "nothing") == []


def test_who_gives_orders_to_the_machine_is_not_seen(machine):
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        subprocess.run((sys.executable, "-c", ""), input=b"", capture_output=True, check=True)
        enable(handle, code=CAPTURE_STATE)
        machine.log([thread_start(1)])
        assert [event.id for event in consumer.wait_for(1)] == [3]


# -- what tdh knows


@pytest.mark.parametrize(
    ("provider", "keywords", "mask"),
    [
        ("{22FB2CD6-0E7B-422B-A0C7-2FAD1FD0E716}", ["WINEVENT_KEYWORD_PROCESS", "WINEVENT_KEYWORD_IMAGE"], 0x50),
        ("{9E814AAD-3204-11D2-9A82-006008A86939}", ["process"], 1),
        ("{43D1A55C-76D6-4F7E-995C-64C711E5CAFE}", ["WININET_KEYWORD_HTTP"], 2),
        ("{22FB2CD6-0E7B-422B-A0C7-2FAD1FD0E716}", ["no such keyword"], 0),
        ("{00000000-0000-0000-0000-000000000001}", ["process"], 0),
    ],
)
def test_keywords_are_known_by_name(machine, provider, keywords, mask):  # noqa: ARG001
    assert get_keywords_bitmask(GUID(provider), keywords) == mask


def test_only_keywords_are_known_of_a_provider(machine):  # noqa: ARG001
    size = ct.c_ulong(0)
    provider = guid(KERNEL_PROCESS)
    assert tdh.TdhEnumerateProviderFieldInformation(ct.byref(provider), 1, None, ct.byref(size)) == 1168


def test_a_property_is_found_by_its_name(machine):  # noqa: ARG001
    assert run("properties") == ["ImageName", "True", "missing:1168"]
