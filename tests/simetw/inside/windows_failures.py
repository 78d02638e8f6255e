"""What Windows refuses, what a test orders to fail, and what others do to a session."""

import ctypes as ct
from struct import unpack_from
from uuid import UUID

import pytest

from etwdetect.core.raw import KERNEL_PROCESS
from parity_tests.simulators.simetw import ALWAYS, Call, Setting
from tests.simetw.inside.tracing import (
    DISABLE,
    FLUSH,
    INVALID_HANDLE,
    QUERY,
    STOP,
    SYSTEM_LOGGER,
    Consumer,
    Properties,
    consuming,
    control,
    enable,
    start,
    thread_start,
    tid_of,
)

ACCESS_DENIED, INVALID, INSUFFICIENT, EXISTS = 5, 87, 122, 183
NO_RESOURCES, GUID_NOT_FOUND, NOT_FOUND = 1450, 4200, 4201
REAL_TIME_SYSTEM_LOGGER = 0x100 | SYSTEM_LOGGER
SYSTEM_TRACE_CONTROL = UUID("9e814aad-3204-11d2-9a82-006008a86939").bytes_le


def test_who_is_not_elevated_may_do_nothing(machine):
    _, handle, _ = start("Theirs")
    machine.set(Setting.ELEVATED, 0)
    assert start("Mine")[0] == ACCESS_DENIED
    assert control("Theirs", QUERY)[0] == control("Theirs", STOP)[0] == ACCESS_DENIED
    assert enable(handle) == ACCESS_DENIED
    consumer = Consumer("Theirs")
    assert (consumer.handle, consumer.open_error) == (INVALID_HANDLE, ACCESS_DENIED)
    assert [session.name for session in machine.sessions()] == ["Theirs"]


def test_there_are_sixty_four_sessions(machine):
    errors = [start(f"Session {number}")[0] for number in range(65)]
    assert errors == [0] * 64 + [NO_RESOURCES]
    assert control("Session 3", STOP)[0] == 0
    assert start("Another")[0] == 0
    assert len(machine.sessions()) == 64


def test_eight_sessions_may_enable_a_provider(machine):  # noqa: ARG001
    handles = [start(f"Session {number}")[1] for number in range(9)]
    assert [enable(handle) for handle in handles] == [0] * 8 + [NO_RESOURCES]
    assert enable(handles[0]) == 0, "who has it may change what it asks for"
    assert enable(handles[0], code=DISABLE) == 0
    assert enable(handles[8]) == 0


def test_there_are_eight_system_loggers(machine):  # noqa: ARG001
    errors = [start(f"Logger {number}", LogFileMode=REAL_TIME_SYSTEM_LOGGER)[0] for number in range(9)]
    assert errors == [0] * 8 + [NO_RESOURCES]
    assert start("Ordinary")[0] == 0


def test_the_one_kernel_logger_is_there_once(machine):
    assert start("NT Kernel Logger", EnableFlags=1)[0] == 0
    assert machine.sessions()[0].mode & SYSTEM_LOGGER
    assert start("nt kernel logger")[0] == EXISTS
    assert start("Another", guid=SYSTEM_TRACE_CONTROL)[0] == INVALID


def test_windows_7_has_no_system_logger_but_the_one(machine):
    machine.set(Setting.BUILD, 7601)
    assert start("Logger", LogFileMode=REAL_TIME_SYSTEM_LOGGER)[0] == INVALID
    assert start("NT Kernel Logger", LogFileMode=REAL_TIME_SYSTEM_LOGGER)[0] == 0


def test_a_session_s_guid_is_its_own(machine):  # noqa: ARG001
    own = UUID(int=5).bytes_le
    assert start("One", guid=own)[0] == 0
    assert start("Two", guid=own)[0] == EXISTS


@pytest.mark.parametrize(
    ("call", "attempt"),
    [
        (Call.START, lambda _: start("Another")[0]),
        (Call.ENABLE, enable),
        (Call.CONTROL, lambda _: control("One", FLUSH)[0]),
    ],
)
def test_a_call_fails_as_often_as_ordered(machine, call, attempt):
    _, handle, _ = start("One")
    machine.fail(call, 1234, times=2)
    assert [attempt(handle) for _ in range(3)] == [1234, 1234, 0]


def test_a_start_that_fails_leaves_no_session(machine):
    machine.fail(Call.START, NO_RESOURCES, times=ALWAYS)
    assert start("One")[0] == NO_RESOURCES
    assert machine.sessions() == []


def test_opening_fails_with_the_invalid_handle_and_the_last_error(machine):
    start("One")
    machine.fail(Call.OPEN, ACCESS_DENIED)
    consumer = Consumer("One")
    assert (consumer.handle, consumer.open_error) == (INVALID_HANDLE, ACCESS_DENIED)
    assert machine.sessions()[0].consumers == 0


def test_a_process_trace_that_runs_ends_with_the_error_ordered(machine):
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        machine.log([thread_start(1)])
        consumer.wait_for(1)
        machine.fail(Call.PROCESS, 1117)
        assert consumer.wait_for_end() == 1117


def test_a_session_stopped_from_outside_ends_its_consumer(machine):
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        machine.log([thread_start(1)])
        machine.stop_session("ONE")
        assert consumer.wait_for_end() == 0
        assert len(consumer.events) == 1
    assert control("One", QUERY)[0] == NOT_FOUND
    assert machine.sessions() == []


def test_a_provider_disabled_from_outside_is_silent_and_listed_no_more(machine):
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        machine.log([thread_start(1)])
        consumer.wait_for(1)
        machine.disable_provider("One")
        assert enabled_by(KERNEL_PROCESS) == []
        machine.log([thread_start(2)])
        enable(handle)
        machine.log([thread_start(3)])
        control("One", FLUSH)
        consumer.wait_for(2)
    assert [tid_of(event) for event in consumer.events] == [1, 3]


def test_who_enabled_a_provider_can_be_asked(machine):  # noqa: ARG001
    assert enabled_by(KERNEL_PROCESS) == []
    handles = [start(name)[1] for name in ("One", "Two", "Three")]
    enable(handles[0], level=5, any_keyword=0x30)
    enable(handles[2], level=4, any_keyword=0x70, all_keyword=0x10)
    assert enabled_by(KERNEL_PROCESS) == [(handles[0], 5, 0x30, 0), (handles[2], 4, 0x70, 0x10)]


def test_a_provider_that_nobody_registered_is_not_found(machine):
    assert trace_guids(1, UUID(int=1).bytes_le)[0] == GUID_NOT_FOUND
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 0)
    assert trace_guids(1, KERNEL_PROCESS)[0] == GUID_NOT_FOUND
    assert KERNEL_PROCESS not in trace_guids(0, None)[1]


def test_both_modules_have_what_wine_lacks(machine):  # noqa: ARG001
    for module in (ct.windll.advapi32, ct.windll.sechost):
        most, size = ct.c_ulong(), ct.c_ulong()
        assert module.TraceQueryInformation(ct.c_uint64(0), 19, ct.byref(most), 4, ct.byref(size)) == 0
        assert most.value == 64


def test_all_sessions_can_be_asked_for(machine):  # noqa: ARG001
    for name in ("One", "Two", "Three"):
        start(name)
    assert query_all(64) == (0, 3, ["One", "Two", "Three"])
    assert query_all(2) == (234, 3, ["One", "Two"])  # ERROR_MORE_DATA


def test_a_query_tells_what_does_not_fit(machine):  # noqa: ARG001
    start("A long name for a session")
    error, properties = control("A long name for a session", QUERY, LogFileNameOffset=124)
    assert error == 234
    assert properties.fields.BufferSize != 0


@pytest.mark.parametrize(("build", "versions"), [(7601, [0]), (9600, [0, 1]), (19045, [0, 1, 2, 3])])
def test_the_events_of_the_provider_are_those_of_the_build(machine, build, versions):
    machine.set(Setting.BUILD, build)
    data = of_tdh("TdhEnumerateManifestProviderEvents", KERNEL_PROCESS)
    descriptors = [unpack_from("<HB13x", data, 8 + 16 * number) for number in range(unpack_from("<I", data)[0])]
    assert [version for event_id, version in descriptors if event_id == 1] == versions
    assert (15 in dict(descriptors)) == (build > 10000)


def test_the_providers_can_be_listed(machine):
    def names():
        data = of_tdh("TdhEnumerateProviders")
        offsets = [unpack_from("<20xI", data, 8 + 24 * number)[0] for number in range(unpack_from("<I", data)[0])]
        return [data[offset:].decode("utf-16-le").partition("\0")[0] for offset in offsets]

    assert "Microsoft-Windows-Kernel-Process" in names()
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 0)
    assert "Microsoft-Windows-Kernel-Process" not in names()


def of_tdh(name, *arguments):
    """What a function of tdh gives when it is asked twice, as usual."""
    function, size = getattr(ct.windll.tdh, name), ct.c_ulong()
    assert function(*arguments, None, ct.byref(size)) == INSUFFICIENT
    room = ct.create_string_buffer(size.value)
    assert function(*arguments, room, ct.byref(size)) == 0
    return room.raw


def trace_guids(what, provider):
    """EnumerateTraceGuidsEx: the error, and what it gave."""
    enumerate_guids = ct.windll.advapi32.EnumerateTraceGuidsEx
    size = ct.c_ulong()
    given = (provider, len(provider)) if provider else (None, 0)
    error = enumerate_guids(what, *given, None, 0, ct.byref(size))
    if error != INSUFFICIENT:
        return error, b""
    room = ct.create_string_buffer(size.value)
    error = enumerate_guids(what, *given, room, size, ct.byref(size))
    return error, room.raw


def enabled_by(provider):
    """Each session that enabled the provider: its handle, level, and keywords."""
    error, info = trace_guids(1, provider)
    assert error == 0
    instances, count = unpack_from("<I4x4xI", info)
    assert instances == 1
    entries = (unpack_from("<IBxHI4xQQ", info, 24 + 32 * number) for number in range(count))
    return [(handle, level, any_of, all_of) for _, level, handle, _, any_of, all_of in entries]


def query_all(room):
    properties = [Properties() for _ in range(room)]
    pointers = (ct.c_void_p * room)(*(ct.addressof(each) for each in properties))
    count = ct.c_ulong()
    error = ct.windll.advapi32.QueryAllTracesW(pointers, room, ct.byref(count))
    return error, count.value, [each.name for each in properties if each.name]
