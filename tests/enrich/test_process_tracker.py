"""Which process an id identifies at a time, and what is known about it."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ProcessRundown, ProcessStart, ProcessStop, ThreadStart
from etwdetect.enrich.process_tracker import ProcessTracker
from etwdetect.enrich.tracked_process import start_time

MILLISECOND = 10_000


class Following:
    """A ProcessTracker, with the time of the last event."""

    def __init__(self, **options):
        self.processes = ProcessTracker(**options)
        self.time = 0

    def prescan(self, event):
        handlers = {
            ProcessStart: self.processes.prescan_start,
            ProcessRundown: self.processes.prescan_listing,
            ProcessStop: self.processes.prescan_stop,
        }
        handlers[type(event)](event)

    def observe(self, event):
        handlers = {
            ProcessStart: self.processes.start,
            ProcessRundown: self.processes.list,
            ProcessStop: self.processes.stop,
            ImageLoad: self.processes.load,
            ThreadStart: self.processes.create_thread,
        }
        handlers[type(event)](event)
        self.time = event.time

    def at(self, pid):
        return self.processes.at(pid, self.time)

    def image(self, pid):
        process = self.at(pid)
        return process.image if process else None

    def parent(self, pid):
        parent = self.processes.parent(self.at(pid), self.time)
        return parent and parent.known and (parent.image, parent.known.command_line)


def started(time, pid, image):
    return ProcessStart(time, 1, 2, pid, image=image)


def listed(time, pid, image):
    return ProcessRundown(time, pid, image=image)


@pytest.fixture
def names():
    return Following()


def after(names, *events):
    for event in events:
        names.observe(event)
    return names


def test_a_process_is_called_what_it_was_started_from(names):
    assert after(names, started(5, 20, "a.exe")).image(20) == "a.exe"


def test_a_process_that_was_never_heard_of_has_no_name(names):
    assert after(names, started(5, 20, "a.exe")).image(30) is None


def test_an_exit_ends_the_name(names):
    assert after(names, started(5, 20, "a.exe"), ProcessStop(6, 20), started(7, 30, "b.exe")).image(20) is None


def test_what_a_process_does_in_the_tick_of_its_exit_it_did_before():
    """The order of events puts exits first, where a coarse clock gives both one time."""
    assert after(Following(), started(5, 20, "a.exe"), ProcessStop(6, 20)).image(20) == "a.exe"


def test_a_process_id_used_again_has_the_new_name(names):
    events = started(5, 20, "a.exe"), ProcessStop(6, 20), started(7, 20, "b.exe")
    assert after(names, *events).image(20) == "b.exe"


def test_a_process_id_used_again_without_an_exit_has_the_new_name(names):
    assert after(names, started(0, 20, "a.exe"), started(11 * MILLISECOND, 20, "b.exe")).image(20) == "b.exe"


def test_a_process_id_used_again_by_a_process_without_a_name_has_none(names):
    assert after(names, started(0, 20, "a.exe"), started(11 * MILLISECOND, 20, None)).image(20) is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_tellings_of_one_start_the_one_with_the_path_stands(names, order):
    path = "\\Device\\HarddiskVolume2\\Windows\\a.exe"
    first, second = (path, "a.exe")[::order]
    assert after(names, started(5, 20, first), started(5 + 10 * MILLISECOND, 20, second)).image(20) == path


def test_a_start_told_twice_once_without_a_name_keeps_it(names):
    assert after(names, started(5, 20, "a.exe"), started(6, 20, None)).image(20) == "a.exe"


def test_a_listing_does_not_shorten_a_known_path(names):
    assert (
        after(names, started(0, 20, "\\Windows\\a.exe"), listed(10**9, 20, "a.exe")).image(20)
        == "\\Windows\\a.exe"
    )


def test_a_listing_names_a_process_that_was_there_before_the_trace(names):
    assert after(names, listed(5, 20, "a.exe")).image(20) == "a.exe"


# -- listings at the end of a trace, which name what was there all along


def prescanned(*events):
    names = Following()
    for event in events:
        names.prescan(event)
    return names


def test_a_listing_to_come_names_a_process_that_does_not_start_before_it():
    names = prescanned(listed(100, 20, "a.exe"))
    assert names.image(20) == "a.exe"


def test_a_listing_to_come_does_not_name_an_earlier_process_with_the_id():
    events = started(50, 20, "b.exe"), listed(100, 20, "b.exe")
    assert prescanned(*events).image(20) is None
    assert prescanned(*reversed(events)).image(20) is None


def test_a_listing_to_come_does_not_name_a_process_that_has_ended():
    names = prescanned(listed(100, 20, "a.exe"))
    assert after(names, ProcessStop(50, 20)).image(20) is None


def test_a_start_behind_the_listing_does_not_take_the_name_away():
    names = prescanned(listed(100, 20, "a.exe"), started(200, 20, "b.exe"))
    assert names.image(20) == "a.exe"
    assert after(names, started(200, 20, "b.exe")).image(20) == "b.exe"


def test_of_several_listings_to_come_the_earliest_names():
    events = listed(300, 20, "c.exe"), listed(100, 20, "a.exe"), listed(200, 20, "b.exe")
    assert prescanned(*events).image(20) == "a.exe"


def test_of_several_starts_to_come_the_earliest_counts():
    events = (
        started(300, 20, "c.exe"),
        started(50, 20, "a.exe"),
        started(200, 20, "b.exe"),
        listed(100, 20, "a.exe"),
    )
    assert prescanned(*events).image(20) is None


def test_a_listing_without_a_name_names_nothing():
    assert prescanned(listed(100, 20, None)).image(20) is None


def test_the_process_heard_of_longest_ago_is_forgotten_first():
    names = after(Following(bound=2), started(1, 20, "a"), started(2, 30, "b"), started(3, 40, "c"))
    assert [names.image(pid) for pid in (20, 30, 40)] == [None, "b", "c"]


def test_memory_is_bounded_however_many_processes_are_heard_of():
    names = Following(bound=16)
    for pid in range(10_000):
        for event in (listed(pid, pid, "a.exe"), started(pid, pid, "a.exe")):
            names.prescan(event)
            names.observe(event)
        names.observe(ProcessStop(pid, pid // 2))
    assert len(pickle.dumps(names)) < 6_000


def test_memory_is_bounded_however_long_command_lines_are():
    names = Following()
    for pid in range(2_000):
        for take in names.prescan, names.observe:
            take(ProcessRundown(pid, pid, image="a.exe", command_line="x" * 32_767))
    assert len(pickle.dumps(names)) < 80 << 20
    assert names.image(1_999) == "a.exe"
    assert names.image(0) is None


def test_memory_is_bounded_however_long_a_line_of_parents_is():
    """Each exits when it has started the next one, which remembers it."""
    names = Following()
    for pid in range(1, 3_000):
        names.observe(ProcessStart(3 * pid, pid - 1, 2, pid, parent_pid=pid - 1, image=f"{pid}.exe"))
        names.observe(ImageLoad(3 * pid + 1, pid, 0x1000, 0x1000, image=f"\\V\\{pid}.exe"))
        names.observe(ProcessStop(3 * pid + 2, pid - 1))
    assert names.parent(2_999) == ("\\V\\2998.exe", None)
    process, generations = names.at(2_999), 0
    while process is not None:
        process, generations = process.parent, generations + 1
    assert generations <= 3


def test_images_before_the_name_are_bounded_and_tell_the_path_when_it_comes():
    names = Following()
    names.observe(ProcessStart(1, 1, 2, 20))
    for number in range(10_000):
        names.observe(loaded(2, 20, number << 12, f"\\V\\{number}.exe"))
    assert len(names.at(20)._early) == 4096
    names.observe(listed(3, 20, "4000.exe"))
    assert names.image(20) == "\\V\\4000.exe"
    assert names.at(20)._early == []


# -- what else is known about a process


def test_two_tellings_of_one_start_are_put_together():
    full = ProcessStart(5, 1, 2, 20, image="\\Device\\Mup\\a.exe", create_time=4, parent_pid=1)
    short = ProcessStart(6, 1, 2, 20, image="a.exe", command_line="a /x", sid=b"\1", session_id=3, parent_pid=1)
    for events in ((full, short), (short, full)):
        known = after(Following(), *events).at(20).known
        assert (known.image, known.command_line, known.sid, known.session_id) == (full.image, "a /x", b"\1", 3)
        assert start_time(known) == 4


def test_a_listing_adds_what_the_start_did_not_tell(names):
    after(names, started(5, 20, "a.exe"), ProcessRundown(10**9, 20, session_id=2, image="a.exe"))
    assert (names.at(20).known.session_id, names.at(20).seen_to_start) == (2, True)


def test_a_listing_with_another_start_time_is_of_another_process(names):
    after(names, ProcessRundown(5, 20, create_time=1, image="a.exe", command_line="a"))
    after(names, ProcessRundown(10**9, 20, create_time=10**8, image="a.exe"))
    assert names.at(20).known.command_line is None


def test_a_listing_of_another_program_is_of_another_process(names):
    after(names, ProcessRundown(5, 20, image="a.exe", command_line="a"), listed(10**9, 20, "b.exe"))
    assert (names.image(20), names.at(20).known.command_line) == ("b.exe", None)


def test_a_name_cut_short_by_the_kernel_is_of_the_same_program(names):
    after(names, started(5, 20, "\\Windows\\SearchProtocolHost.exe"), listed(10**9, 20, "SearchProtocol"))
    assert names.image(20) == "\\Windows\\SearchProtocolHost.exe"


def test_a_start_is_when_the_process_was_created_or_else_the_time_of_the_event():
    assert start_time(ProcessStart(9, 1, 2, 20, create_time=8)) == 8
    assert start_time(ProcessStart(9, 1, 2, 20)) == 9
    assert start_time(ProcessRundown(9, 20)) is None


# -- parents


def child(time, parent_pid):
    return ProcessStart(time, 1, 2, 30, parent_pid=parent_pid, image="child.exe")


def test_a_parent_is_what_it_was_when_the_child_started(names):
    parent = ProcessStart(5, 1, 2, 20, image="parent.exe", command_line="parent /x")
    after(names, parent, child(10, 20), ProcessStop(20, 20), started(10**9, 20, "later.exe"))
    assert names.parent(30) == ("parent.exe", "parent /x")


def test_a_parent_that_ended_before_the_child_started_is_not_known(names):
    assert after(names, started(5, 20, "parent.exe"), ProcessStop(6, 20), child(10, 20)).parent(30) is None


def test_a_parent_that_is_listed_later_was_there_when_the_child_started(names):
    names.prescan(listed(100, 20, "parent.exe"))
    assert after(names, child(10, 20)).parent(30) == ("parent.exe", None)


def test_of_a_listed_child_the_parent_is_known_where_it_is_known_to_be_older(names):
    def family(parent_began, child_began):
        return (
            ProcessRundown(5, 20, create_time=parent_began, image="parent.exe"),
            ProcessRundown(5, 30, parent_pid=20, create_time=child_began),
        )

    assert after(names, *family(1, 2)).parent(30) == ("parent.exe", None)
    assert after(Following(), *family(2, 1)).parent(30) is None
    assert after(Following(), *family(None, 2)).parent(30) is None
    assert after(Following(), *family(1, None)).parent(30) is None


def test_the_system_process_is_always_itself(names):
    after(names, listed(5, 4, "System"), ProcessRundown(5, 30, parent_pid=4, image="smss.exe"))
    assert names.parent(30) == ("System", None)


# -- images


def loaded(time, pid, base, path, **options):
    return ImageLoad(time, pid, base, 0x1000, image=path, **options)


def test_the_images_of_a_process_tell_the_path_of_its_program(names):
    after(names, started(5, 20, "a.exe"), loaded(6, 20, 0x10000, "\\Device\\X\\A.exe"))
    assert names.image(20) == "\\Device\\X\\A.exe"


def test_the_images_of_another_process_do_not(names):
    after(names, loaded(4, 20, 0x10000, "\\Device\\X\\a.exe"), started(5, 20, "a.exe"))
    assert names.image(20) == "a.exe"


def test_a_parent_is_called_by_its_path_where_its_images_tell_it(names):
    after(names, started(5, 20, "a.exe"), loaded(6, 20, 0x10000, "\\Device\\X\\a.exe"), child(10, 20))
    assert names.parent(30) == ("\\Device\\X\\a.exe", None)


# -- against a naive model


STEPS = st.lists(
    st.tuples(st.sampled_from(("start", "stop", "list")), st.integers(1, 3), st.sampled_from(("a.exe", "b.exe"))),
    max_size=30,
)


@given(STEPS)
def test_an_id_stands_for_what_was_last_told_of_it_since_its_last_end(steps):
    """The naive model: all events of the id since its last start or exit."""
    names, told = Following(), {}
    for number, (what, pid, image) in enumerate(steps, 1):
        time = number * 11 * MILLISECOND
        if what == "stop":
            names.observe(ProcessStop(time, pid))
            told.pop(pid, None)
        else:
            names.observe((started if what == "start" else listed)(time, pid, image))
            told[pid] = image
        names.time += 1  # past the tick in which an ended one is still known
        assert [names.image(each) for each in (1, 2, 3)] == [told.get(each) for each in (1, 2, 3)]


@given(STEPS)
def test_a_parent_is_who_had_its_id_when_the_child_began(steps):
    names, told = Following(), {}
    parents = {}
    for number, (what, pid, image) in enumerate(steps, 1):
        time = number * 11 * MILLISECOND
        if what == "stop":
            names.observe(ProcessStop(time, pid))
            told.pop(pid, None)
            parents.pop(pid, None)
        elif what == "start":
            parents[pid] = told.get(pid % 3 + 1)
            names.observe(ProcessStart(time, 1, 2, pid, parent_pid=pid % 3 + 1, image=image))
            told[pid] = image
        names.time += 1
        for child, image_of_parent in parents.items():
            assert names.parent(child) == (image_of_parent and (image_of_parent, None))


def with_key(time, key, creator=10):
    return ThreadStart(time, creator, 11, 20, 21, creator_key=key)


@pytest.mark.parametrize(("keys", "image"), [((5, 6), None), ((5, 5), "a"), ((None, 6), "a"), ((5, None), "a")])
def test_a_creator_with_another_start_key_is_another_process(keys, image):
    following = Following()
    following.observe(started(1, 10, "a"))
    for time, key in enumerate(keys, 2):
        following.observe(with_key(time, key))
    assert following.image(10) == image


@pytest.mark.parametrize(
    "between", [ProcessStop(3, 10), started(900 * MILLISECOND, 10, "b")], ids=["exit", "start"]
)
def test_a_process_that_is_told_to_start_or_to_exit_has_a_key_of_its_own(between):
    following = Following()
    for event in (started(1, 10, "a"), with_key(2, 5), between):
        following.observe(event)
    assert not following.processes.is_another_creator(with_key(901 * MILLISECOND, 6))


def test_a_creator_with_another_key_is_not_the_process_that_is_listed_later():
    following = Following()
    following.prescan(listed(9, 10, "b"))
    for event in (with_key(2, 5), with_key(3, 6)):
        following.observe(event)
    assert following.image(10) is None


def test_a_process_is_another_where_the_sequence_number_is_and_the_time_of_its_start_does_not_tell():
    first = ProcessRundown(1, 10, create_time=MILLISECOND, image="a", sequence=7)
    for change, image in (
        ({"create_time": 2 * MILLISECOND, "sequence": 8}, "b"),
        ({"create_time": 2 * MILLISECOND}, "a"),
        ({"create_time": None, "sequence": 8}, "b"),
        ({"create_time": 900 * MILLISECOND}, "a"),
        ({"sequence": 8}, "a"),
    ):
        following = Following()
        following.observe(first)
        following.observe(first._replace(time=2, image="b", **change))
        assert following.image(10) == image


def test_a_sequence_number_that_only_one_event_tells_is_kept():
    following = Following()
    following.observe(listed(1, 10, "a"))
    following.observe(listed(2, 10, "a")._replace(sequence=7))
    assert following.at(10).known.sequence == 7
