"""Sessions: started, asked for, read, stopped, and left behind by a process that died."""

import ctypes as ct
import os
import subprocess
import sys

import etw
import pytest
from etw import evntrace as et

from etwdetect.core.events import ImageLoad, ThreadStart
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.sources.decode.encode import encode
from tests.simetw.inside.tracing import (
    FLUSH,
    QUERY,
    REAL_TIME,
    STOP,
    Consumer,
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

EXISTS, NOT_FOUND, BAD_LENGTH, INVALID = 183, 4201, 24, 87


def test_a_session_is_there_until_it_is_stopped(machine):
    error, handle, properties = start("One", BufferSize=128, MinimumBuffers=8, MaximumBuffers=40)
    assert (error, properties.name) == (0, "One")
    assert handle != 0
    (session,) = machine.sessions()
    assert (session.name, session.handle, session.mode & REAL_TIME) == ("One", handle, REAL_TIME)
    assert (session.buffer_size, session.minimum_buffers, session.maximum_buffers) == (128, 8, 40)
    assert control("One", STOP)[0] == 0
    assert machine.sessions() == []
    assert control("One", QUERY)[0] == NOT_FOUND


def test_a_second_session_of_a_name_is_refused_whatever_its_case(machine):  # noqa: ARG001
    assert start("Name")[0] == 0
    assert start("nAME")[0] == EXISTS


def test_a_session_is_controlled_by_handle_or_by_name_whatever_its_case(machine):  # noqa: ARG001
    _, handle, _ = start("Name")
    for name, by in ((None, handle), ("NAME", 0)):
        error, properties = control(name, QUERY, handle=by)
        assert (error, properties.name) == (0, "Name")


def test_an_event_reaches_the_callback_with_every_field_of_its_header(machine):
    _, handle, _ = start("One")
    assert enable(handle) == 0
    event = thread_start(21, time=134_000_000_000_000_000)
    with consuming("One", context=77) as consumer:
        machine.log([event], cpus=lambda _: 1)
        control("One", FLUSH)
        (seen,) = consumer.wait_for(1)
    assert (seen.provider, seen.id, seen.version, seen.opcode) == (KERNEL_PROCESS, 3, 1, 1)
    assert (seen.level, seen.keyword, seen.flags & 0x60) == (4, 0x8000_0000_0000_0020, 0x40)
    assert (seen.time, seen.pid, seen.tid, seen.cpu) == (event.time, 10, 11, 1)
    assert (seen.payload, seen.context) == (event.payload, 77)
    assert seen.thread == consumer.thread.ident


def test_a_session_outlives_its_process(machine):
    code = """
import ctypes as ct
import os
from tests.simetw.inside.tracing import start, enable
error, handle, _ = start("Leaked")
assert (error, enable(handle)) == (0, 0)
os._exit(7)
"""
    assert subprocess.run((sys.executable, "-c", code), stdin=subprocess.PIPE, check=False).returncode == 7
    assert [session.name for session in machine.sessions()] == ["Leaked"]
    assert start("Leaked")[0] == EXISTS
    machine.log([thread_start(1)])
    with consuming("Leaked") as consumer:
        consumer.wait_for(1)
    assert control("Leaked", STOP)[0] == 0
    assert machine.sessions() == []


def test_a_killed_consumer_is_gone_and_its_session_stays(machine):
    start("One")
    code = "import time; from tests.simetw.inside.tracing import Consumer; Consumer('One'); time.sleep(60)"
    with subprocess.Popen((sys.executable, "-c", code), stdin=subprocess.PIPE) as process:
        until(lambda: machine.sessions()[0].consumers == 1)
        process.kill()
        until(lambda: machine.sessions()[0].consumers == 0)


def test_another_machine_has_other_sessions(machine):
    start("Here")
    code = "from tests.simetw.inside.tracing import control; print(control('Here', 0)[0])"
    environment = {**os.environ, "ETWDETECT_SIMETW": "another"}
    command = (sys.executable, "-c", code)
    done = subprocess.run(command, env=environment, stdin=subprocess.PIPE, capture_output=True, check=True)
    assert int(done.stdout) == NOT_FOUND
    assert len(machine.sessions()) == 1


def test_process_trace_ends_when_the_session_is_stopped_and_gives_what_was_logged_before(machine):
    _, handle, _ = start("One", FlushTimer=60)
    enable(handle)
    consumer = Consumer("One")
    machine.log([thread_start(tid) for tid in range(5)])
    assert control("One", STOP)[0] == 0
    assert consumer.wait_for_end() == 0
    assert len(consumer.events) == 5
    assert consumer.process() == NOT_FOUND
    consumer.close()


def test_process_trace_ends_when_the_trace_is_closed(machine):
    _, handle, _ = start("One")
    enable(handle)
    consumer = Consumer("One")
    machine.log([thread_start(1)])
    consumer.wait_for(1)
    assert consumer.close() == 7007  # ERROR_CTX_CLOSE_PENDING
    assert consumer.result == 0
    assert machine.sessions()[0].consumers == 0


def test_a_session_that_is_not_there_ends_process_trace_at_once(machine):  # noqa: ARG001
    consumer = Consumer("Nobody")
    assert consumer.wait_for_end() == NOT_FOUND


def test_the_structure_must_have_room_for_the_names(machine):
    properties = Properties(LogFileMode=REAL_TIME)
    properties.fields.Wnode.BufferSize = 100
    handle = et.TRACEHANDLE()
    assert et.StartTraceW(handle, "One", properties.fields) == BAD_LENGTH
    start("Two")
    assert et.ControlTraceW(0, "Two", properties.fields, QUERY) == BAD_LENGTH
    assert [session.name for session in machine.sessions()] == ["Two"]


@pytest.mark.parametrize("values", [{"LoggerNameOffset": 0}, {"LoggerNameOffset": 50_000}, {"clock": 9}])
def test_properties_that_make_no_sense_are_refused(machine, values):
    assert start("One", **values)[0] == INVALID
    assert machine.sessions() == []


@pytest.fixture
def pywintrace(machine):  # noqa: ARG001
    """A running etw.ETW, and what its default path, through tdh, gave for each event."""
    seen = []
    provider = etw.ProviderInfo("Kernel-Process", guid(KERNEL_PROCESS), any_keywords=0x70, all_keywords=0)
    trace = etw.ETW(
        session_name="Pywintrace", providers=[provider], ignore_exists_error=False, event_callback=seen.append
    )
    trace.start()
    yield trace, seen
    trace.stop()


@pytest.mark.filterwarnings("ignore:isSet:DeprecationWarning")  # pywintrace's own
def test_pywintrace_runs_on_the_machine_unchanged(machine, pywintrace):
    trace, seen = pywintrace
    assert [session.enabled_providers for session in machine.sessions()] == [1]
    assert trace.query().EventsLost == query("Pywintrace").EventsLost == 0
    machine.log([thread_start(21), encode(ImageLoad(0, 20, 0x7FF0_0000, 0x5000, image=r"\Windows\a.dll"))])
    until(lambda: len(seen) == 2)
    (_, started), (_, loaded) = seen
    assert (started["Task Name"], started["ProcessID"], started["ThreadID"]) == ("THREADSTART", "20", "21")
    assert (loaded["ImageName"], loaded["ImageBase"]) == (r"\Windows\a.dll", "0x7FF00000")
    assert (started["EventHeader"]["ProcessId"], started["EventHeader"]["ThreadId"]) == (10, 11)


def test_two_consumers_of_a_session_both_get_every_event(machine):
    _, handle, _ = start("One", FlushTimer=60)
    enable(handle)
    with consuming("One") as first, consuming("One") as second:
        assert machine.sessions()[0].consumers == 2
        machine.log([thread_start(tid) for tid in range(5)])
        control("One", FLUSH)
        for consumer in (first, second):
            assert [tid_of(seen) for seen in consumer.wait_for(5)] == list(range(5))


def test_an_event_of_a_32_bit_machine_says_so(machine):
    _, handle, _ = start("One")
    enable(handle)
    event = encode(ThreadStart(0, 10, 11, 20, 21), pointer_size=4)
    with consuming("One") as consumer:
        machine.log([event])
        (seen,) = consumer.wait_for(1)
    assert (seen.flags & 0x60, seen.payload) == (0x20, event.payload)


@pytest.mark.parametrize("name", ["QueryTraceW", "UpdateTraceW", "FlushTraceW", "StopTraceW"])
def test_the_older_names_of_control_trace_work_too(machine, name):
    start("One")
    properties = Properties(LogFileMode=REAL_TIME)
    assert getattr(ct.windll.advapi32, name)(ct.c_uint64(0), "One", ct.byref(properties)) == 0
    assert properties.name == "One"
    assert len(machine.sessions()) == (name != "StopTraceW")
