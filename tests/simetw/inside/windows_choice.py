"""Which events reach a session: by keyword, level and id; the rundowns; the system loggers."""

import ctypes as ct

import pytest
from etw import evntprov as ep
from etw import evntrace as et

from etwdetect.core.events import (
    ImageLoad,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.raw import IMAGE, PROCESS, THREAD, RawEvent
from etwdetect.sources.decode import Decoder
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import SimImage, SimProcess, classic, pack_event
from parity_tests.simulators.simetw import Setting
from tests.simetw.inside.tracing import (
    CAPTURE_STATE,
    FLUSH,
    IMAGE_KEYWORD,
    PROCESS_KEYWORD,
    SYSTEM_LOGGER,
    THREAD_KEYWORD,
    consuming,
    control,
    enable,
    start,
    thread_start,
    tid_of,
)

INVALID = 87
EVERY_KIND = [
    encode(ProcessStart(0, 10, 11, 20)),
    encode(ProcessStop(0, 20)),
    encode(ThreadStart(0, 10, 11, 20, 21)),
    encode(ThreadStop(0, 20, 21)),
    encode(ImageLoad(0, 20, 0x10000, 0x1000)),
]
MACHINE = [
    SimProcess(4, "System", threads=((8, 0),)),
    SimProcess(
        500,
        r"\Device\HarddiskVolume3\Windows\notepad.exe",
        parent_pid=4,
        session_id=1,
        create_time=134_000_000_000_000_000,
        command_line="notepad.exe a.txt",
        threads=((504, 0x7FF0_1000), (508, 0x7FF0_2000)),
        images=(SimImage(0x7FF0_0000, 0x5000, r"\Windows\notepad.exe"),),
    ),
]


def ids_that_come(machine, log, **asked):
    """Enable with what is asked, log, and return the ids of the events that came."""
    _, handle, _ = start("One", FlushTimer=60)
    assert enable(handle, **asked) == 0
    with consuming("One") as consumer:
        log(machine)
        machine.log([thread_start(99)])
        enable(handle)
        machine.log([thread_start(100)])
        control("One", FLUSH)
        consumer.wait_for(1)
        while tid_of(consumer.events[-1]) != 100:
            consumer.wait_for(len(consumer.events) + 1)
    return [event.id for event in consumer.events if tid_of(event) not in (99, 100)]


def log_every_kind(machine):
    machine.log(EVERY_KIND)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"any_keyword": 0}, [1, 2, 3, 4, 5]),
        ({"any_keyword": PROCESS_KEYWORD}, [1, 2]),
        ({"any_keyword": THREAD_KEYWORD | IMAGE_KEYWORD}, [3, 4, 5]),
        ({"any_keyword": 0x70, "all_keyword": THREAD_KEYWORD}, [3, 4]),
        ({"level": 3}, []),
        ({"level": 0}, [1, 2, 3, 4, 5]),
    ],
)
def test_keywords_and_level_choose(machine, asked, ids):
    assert ids_that_come(machine, log_every_kind, **asked) == ids


def id_filter(ids, *, filter_in=True, kind=0x8000_0200):
    """ENABLE_TRACE_PARAMETERS with an EVENT_FILTER_EVENT_ID; it keeps what it points to."""
    data = (ct.c_ushort * (2 + len(ids)))(filter_in, len(ids), *ids)
    descriptor = ep.EVENT_FILTER_DESCRIPTOR(ct.addressof(data), ct.sizeof(data), kind)
    parameters = et.ENABLE_TRACE_PARAMETERS(Version=2, FilterDescCount=1)
    parameters.EnableFilterDesc = ct.pointer(descriptor)
    parameters.keep = data, descriptor
    return parameters


@pytest.mark.parametrize(("filter_in", "ids"), [(True, [1, 2]), (False, [3, 4, 5])])
def test_an_event_id_filter_chooses(machine, filter_in, ids):
    parameters = id_filter([1, 2, 15], filter_in=filter_in)
    assert ids_that_come(machine, log_every_kind, parameters=parameters) == ids


def test_a_filter_has_at_most_sixty_four_ids(machine):  # noqa: ARG001
    _, handle, _ = start("One")
    assert enable(handle, parameters=id_filter(range(64))) == 0
    assert enable(handle, parameters=id_filter(range(65))) == INVALID


def test_a_process_filter_silences_a_provider_of_the_kernel(machine):
    parameters = id_filter([10], kind=0x8000_0004)
    assert ids_that_come(machine, log_every_kind, parameters=parameters) == []


def test_an_event_of_another_keyword_and_level_can_be_logged(machine):
    def log(machine):
        machine.log_packed(pack_event(EVERY_KIND[0], keyword=0x40, level=5))
        machine.log_packed(pack_event(EVERY_KIND[2], keyword=0, level=1))

    assert ids_that_come(machine, log, any_keyword=PROCESS_KEYWORD, level=4) == [3]


STACK, KEY = (6, bytes(range(24))), (13, b"KEYKEYKE")


def items_that_come(machine, *, parameters):
    """Enable so, log events that have all items, and return the items by event id."""
    _, handle, _ = start("One", FlushTimer=60)
    assert enable(handle, parameters=parameters) == 0
    with consuming("One") as consumer:
        machine.log([event._replace(stacks=(STACK, KEY, (16, b"{container}"))) for event in EVERY_KIND])
        control("One", FLUSH)
        return {event.id: event.items for event in consumer.wait_for(len(EVERY_KIND))}


@pytest.mark.parametrize(
    ("properties", "items"), [(0, ()), (0x4, (STACK,)), (0x80, (KEY,)), (0x84, (STACK, KEY)), (0x3, ())]
)
def test_a_session_gets_the_extended_items_that_it_asked_for(machine, properties, items):
    parameters = et.ENABLE_TRACE_PARAMETERS(Version=2, EnableProperty=properties)
    found = items_that_come(machine, parameters=parameters)
    assert found == dict.fromkeys(range(1, 6), (*items, (16, b"{container}")))


@pytest.mark.parametrize(("filter_in", "ids"), [(True, {3}), (False, {1, 2, 4, 5})])
def test_a_filter_for_stacks_chooses_the_events_that_have_one(machine, filter_in, ids):
    parameters = id_filter([3], filter_in=filter_in, kind=0x8000_1000)
    parameters.EnableProperty = 0x84
    found = items_that_come(machine, parameters=parameters)
    assert set(found) == set(range(1, 6)), "it chooses no events"
    assert {number for number, items in found.items() if STACK in items} == ids
    assert all(KEY in items for items in found.values())


def test_a_filter_for_stacks_has_at_most_sixty_four_ids(machine):  # noqa: ARG001
    _, handle, _ = start("One")
    assert enable(handle, parameters=id_filter(range(64), kind=0x8000_1000)) == 0
    assert enable(handle, parameters=id_filter(range(65), kind=0x8000_1000)) == INVALID


def decoded(events):
    decoder = Decoder(lambda *damage: pytest.fail(str(damage)), images=True)
    raw = (
        RawEvent(seen.provider, seen.id, seen.version, seen.opcode, seen.time, seen.pid, seen.tid, 8, seen.payload)
        for seen in events
    )
    return [decoder.decode(event) for event in raw]


def test_capture_state_lists_the_processes(machine):
    machine.set_processes(MACHINE)
    _, handle, _ = start("One")
    enable(handle, any_keyword=PROCESS_KEYWORD)
    with consuming("One") as consumer:
        assert enable(handle, code=CAPTURE_STATE) == 0
        listed = decoded(consumer.wait_for(2))
    assert [(type(event), event.pid, event.parent_pid) for event in listed] == [
        (ProcessRundown, 4, 0),
        (ProcessRundown, 500, 4),
    ]
    assert (listed[1].create_time, listed[1].image) == (MACHINE[1].create_time, MACHINE[1].image)


def test_windows_7_lists_no_processes(machine):
    machine.set(Setting.BUILD, 7601)
    machine.set_processes(MACHINE)
    _, handle, _ = start("One")
    enable(handle)
    with consuming("One") as consumer:
        assert enable(handle, code=CAPTURE_STATE) == 0
        machine.log([thread_start(1)])
        assert [event.id for event in consumer.wait_for(1)] == [3]


def test_a_system_logger_lists_what_is_there_when_it_starts_and_when_it_ends(machine):
    machine.set_processes(MACHINE)
    start("Logger", LogFileMode=0x100 | SYSTEM_LOGGER, EnableFlags=7)
    with consuming("Logger") as consumer:
        listed = decoded(consumer.wait_for(6))
        control("Logger", 1)
        consumer.wait_for_end()
    assert [type(event) for event in listed] == [
        ProcessRundown, ThreadRundown, ProcessRundown, ThreadRundown, ThreadRundown, ImageLoad,
    ]  # fmt: skip
    assert listed[2].command_line == "notepad.exe a.txt"
    assert [(event.pid, event.tid, event.start_address) for event in listed[3:5]] == [
        (500, 504, 0x7FF0_1000),
        (500, 508, 0x7FF0_2000),
    ]
    assert (listed[5].pid, listed[5].base, listed[5].rundown) == (500, 0x7FF0_0000, True)
    assert [event.opcode for event in consumer.events] == [3] * 6 + [4] * 6


@pytest.mark.parametrize(("flags", "provider"), [(1, PROCESS), (2, THREAD), (4, IMAGE)])
def test_enable_flags_choose_the_classes_of_a_system_logger(machine, flags, provider):
    machine.set_processes(MACHINE)
    start("Logger", LogFileMode=0x100 | SYSTEM_LOGGER, EnableFlags=flags)
    with consuming("Logger") as consumer:
        control("Logger", 1)
        consumer.wait_for_end()
    assert {event.provider for event in consumer.events} == {provider}


def test_enable_flags_can_be_set_later(machine):
    _, handle, _ = start("Logger", LogFileMode=0x100 | SYSTEM_LOGGER)
    mask = (ct.c_ulong * 8)(2)
    assert ct.windll.advapi32.TraceSetInformation(ct.c_uint64(handle), 4, mask, ct.sizeof(mask)) == 0
    with consuming("Logger") as consumer:
        machine.log([classic(THREAD, 1, {"ProcessId": 20, "TThreadId": 21})._replace(pid=10, tid=11)])
        (event,) = decoded(consumer.wait_for(1))
    assert event[1:5] == (10, 11, 20, 21)
    assert consumer.events[0].flags & 0x100, "a classic header"


def test_an_ordinary_session_hears_nothing_of_the_kernel_logger(machine):
    _, handle, _ = start("One", EnableFlags=7)
    enable(handle)
    with consuming("One") as consumer:
        machine.log([classic(THREAD, 1, {"ProcessId": 20, "TThreadId": 21}), thread_start(1)])
        assert [event.id for event in consumer.wait_for(1)] == [3]
