"""From steps to what happened: ids, times, creators, and what can't happen."""

import pytest

from etwdetect.core.events import (
    UNKNOWN_ID,
    ImageLoad,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from parity_tests import addresses, loading
from parity_tests.errors import ScenarioError
from parity_tests.simulators.simkernel import Kind
from parity_tests.timeline import MIDNIGHT, SECOND, expand

TEXT = """
title = "A title"
why = "A reason"
steps = [{steps}]
expect = []
{rest}
[processes]
explorer = {{ running = true, pid = 100, threads = {{ main = 104, other = 108 }} }}
notepad = {{ running = true, pid = 200, images = ["extra.dll"] }}
tool = {{ pid = 300 }}
heir = {{ pid = 300 }}
"""


def expanded(*steps, rest=""):
    return expand(loading.parse(TEXT.format(steps=",".join(steps), rest=rest), "timeline"))


def events(*steps, rest="", without=(ImageLoad, ProcessRundown)):
    return [entry.event for entry in expanded(*steps, rest=rest).entries if not isinstance(entry.event, without)]


START = '{ start_process = "tool", by = "explorer/other", tid = 304 }'


def test_a_start_is_a_process_and_its_first_thread_by_the_same_creator():
    process, thread = events(START)
    assert process[1:5] == (100, 108, 300, 100)
    assert thread[1:5] == (100, 108, 300, 304)
    assert isinstance(process, ProcessStart)
    assert isinstance(thread, ThreadStart)
    assert process.time < thread.time


def test_a_spoofed_parent_is_no_creator():
    (process, _) = events('{ start_process = "tool", by = "explorer", parent = "notepad" }')
    assert (process.creator_pid, process.parent_pid) == (100, 200)


def test_the_first_step_is_at_the_time_at_which_the_story_begins():
    (first, *_) = events(START, rest="begins = 13:08:15.280")
    assert first.time == MIDNIGHT + (13 * 3600 + 8 * 60 + 15) * SECOND + 2_800_000


def test_time_passes_between_steps():
    one, two, three = events(*['{ create_thread = "notepad", after = "1.5 ms" }'] * 3)
    assert two.time - one.time == three.time - two.time == 15_000


def test_time_stamps_are_multiples_of_the_tick():
    stamps = [event.time for event in events(START, rest='[machine]\nclock_tick = "15.625 ms"')]
    assert stamps[0] == stamps[1]
    assert stamps[0] % 156_250 == 0


def test_repetitions_keep_their_own_pace_and_have_numbers():
    steps = '{ repeat = 3, every = "100 us", steps = [ { start_process = "w {n}", by = "explorer" } ] }'
    timeline = expanded(steps)
    kinds = [
        type(entry.event) for entry in timeline.entries if isinstance(entry.event, ProcessStart | ThreadStart)
    ]
    assert kinds == [ProcessStart] * 3 + [ThreadStart] * 3
    assert timeline.processes.pid_of("w 3") != timeline.processes.pid_of("w 1")


def test_ids_that_a_scenario_gives_itself_are_given_to_nobody_else():
    one, two = events('{ create_thread = "notepad" }', '{ create_thread = "notepad", tid = 1000 }')
    assert two.tid == 1000
    assert one.tid not in (100, 104, 108, 200, 300, 1000)


def test_of_a_process_without_a_thread_nothing_is_told_until_a_stranger_gives_it_one():
    made = '{ create_process_without_thread = "tool", by = "explorer" }'
    assert events(made, '{ exit_process = "tool" }') == []
    process, thread = events(made, '{ first_thread = "tool", by = "notepad" }')
    assert (process.creator_pid, process.parent_pid, thread.creator_pid) == (200, 100, 200)


def test_a_process_that_begins_is_told_at_once():
    begin = '{ begin_process = "tool", by = "explorer" }'
    started, ended = events(begin, '{ exit_process = "tool" }')
    assert isinstance(started, ProcessStart)
    assert ended == ProcessStop(ended.time, 300)


def test_an_attach_makes_a_thread_at_the_break_in_function_and_a_non_invasive_one_none():
    (thread,) = events('{ attach_debugger = "notepad", by = "explorer" }')
    assert thread.start_address == addresses.start_address("ntdll.dll!DbgUiRemoteBreakin")
    assert events('{ attach_debugger = "notepad", by = "explorer", invasive = false }') == []


def test_a_thread_that_ends_is_told_with_its_ids():
    made, ended = events('{ create_thread = "notepad", named = "x" }', '{ exit_thread = "notepad/x" }')
    assert ended == ThreadStop(ended.time, 200, made.tid)


def test_a_start_address_lies_in_its_image_and_nowhere_in_none():
    base = addresses.image_base("ntdll.dll")
    assert base < addresses.start_address("ntdll.dll!x") < base + addresses.IMAGE_SIZE
    mapped = [event for event in events(START, without=()) if isinstance(event, ImageLoad) and not event.rundown]
    assert len(mapped) == 4
    assert not any(0 <= addresses.NOWHERE - image.base < image.size for image in mapped)


def test_a_suspended_program_maps_its_dlls_when_it_is_resumed():
    steps = '{ start_suspended = "tool", by = "explorer" }', '{ resume = "tool", by = "explorer", after = "1 s" }'
    loads = [event for event in events(*steps, without=()) if isinstance(event, ImageLoad) and not event.rundown]
    names = [event.image.rpartition("\\")[2] for event in loads]
    assert names == ["tool.exe", "ntdll.dll", "kernel32.dll", "kernelbase.dll"]
    assert loads[2].time - loads[1].time > SECOND // 2


def test_an_unknown_creator_is_unknown_to_etw_and_known_to_the_driver():
    timeline = expanded(
        '{ create_remote_thread = "notepad", by = "explorer", at = "nowhere", etw_creator = "unknown" }'
    )
    entry = timeline.entries[-1]
    assert entry.to_etw()[1:3] == (UNKNOWN_ID, UNKNOWN_ID)
    (event,) = timeline.kernel_events()
    assert (event.kind, event.creator_pid, event.creator_tid) == (Kind.THREAD_CREATED, 100, 104)


def test_what_etw_loses_reaches_the_driver_alone():
    timeline = expanded('{ create_thread = "notepad", lost_by_etw = true }', '{ create_thread = "notepad" }')
    assert timeline.events_lost == 1
    assert len(list(timeline.kernel_events())) == 2
    assert sum(isinstance(entry.event, ThreadStart) for entry in timeline.etw_entries()) == 1


def test_what_came_before_detection_is_seen_by_neither_but_its_processes_are_listed():
    begin = '{ start_detection = "both", after = "1 s" }'
    timeline = expanded(START, begin, '{ create_thread = "tool" }')
    assert len(list(timeline.kernel_events())) == 1
    listed = {
        entry.event.pid: entry.event.create_time
        for entry in timeline.entries
        if type(entry.event) is ProcessRundown
    }
    assert set(listed) == {0, 4, 100, 200, 300}
    assert listed[300] == timeline.session_start - SECOND
    assert listed[200] < timeline.session_start - 60 * SECOND


def test_cpus_take_turns_unless_a_step_says_which():
    steps = ['{ create_thread = "notepad" }'] * 3 + ['{ create_thread = "notepad", cpu = 2 }'] * 2
    timeline = expanded(*steps, rest="[machine]\ncpus = 3")
    assert len({entry.cpu for entry in timeline.entries[-5:-2]}) == 3
    assert [entry.cpu for entry in timeline.entries[-2:]] == [2, 2]


ATTACH = '{ attach_debugger = "notepad", by = "explorer" }'

IMPOSSIBLE = {
    '{ create_thread = "calc" }': "calc is not running",
    '{ create_thread = "notepad", by = "explorer" }': "explorer is not a thread of notepad",
    '{ create_thread = "notepad", by = "notepad/x" }': "notepad has no thread x (it has: main)",
    '{ start_process = "notepad", by = "explorer" }': "notepad was started already",
    '{ start_process = "tool", by = "explorer", parent = "calc" }': "calc is not running",
    f'{START}, {{ start_process = "heir", by = "explorer" }}': "the id of heir, 300, is in use",
    f'{START}, {{ exit_process = "tool" }}, {{ create_thread = "tool" }}': "tool has ended",
    f'{START}, {{ first_thread = "heir", by = "tool" }}': "heir is not running",
    '{ create_remote_thread = "notepad", by = "explorer" }': "needs a start address",
    '{ create_remote_thread = "notepad", by = "notepad", at = "nowhere" }': "use create_thread",
    '{ create_remote_thread = "notepad", by = "explorer", at = "x.dll!f" }': "x.dll is not mapped in notepad",
    '{ create_remote_thread = "notepad", by = "explorer", at = "f" }': "'f' is not a start address",
    '{ break_in = "notepad", by = "explorer" }': "explorer is not attached to notepad",
    '{ detach = "notepad", by = "explorer" }': "explorer is not attached to notepad",
    '{ resume = "notepad", by = "explorer" }': "notepad is not suspended",
    '{ exit_thread = "notepad/x" }': "notepad has no thread x",
    '{ create_thread = "notepad", named = "main" }': "notepad has a thread main already",
    f"{ATTACH}, {ATTACH}": "explorer is attached to notepad already",
}  # fmt: skip


@pytest.mark.parametrize("steps", IMPOSSIBLE)
def test_what_cannot_happen_is_told_with_its_step(steps):
    with pytest.raises(ScenarioError) as error:
        expanded(steps)
    assert IMPOSSIBLE[steps] in str(error.value)
    assert str(error.value).startswith("timeline: step ")


def test_a_story_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("parity_tests.timeline.MOST_STEPS", 200)
    inner = '{ repeat = 100, every = "1 us", steps = [ { create_thread = "notepad" } ] }'
    expanded(inner)
    with pytest.raises(ScenarioError, match="more than 200 steps"):
        expanded(f'{{ repeat = 100000, every = "1 s", steps = [ {inner} ] }}')


def test_a_story_of_too_many_events_is_refused(monkeypatch):
    monkeypatch.setattr("parity_tests.timeline.MOST_EVENTS", 200)
    with pytest.raises(ScenarioError, match="more than 200 events"):
        expanded('{ repeat = 50, every = "1 s", steps = [ { start_process = "p{n}", by = "explorer" } ] }')


def test_a_thread_in_an_image_that_the_process_has_besides_is_possible():
    (thread,) = events('{ create_remote_thread = "notepad", by = "explorer", at = "extra.dll!Run" }')
    assert thread.start_address == addresses.start_address("extra.dll!Run")
