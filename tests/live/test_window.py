import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.live.window import ReorderWindow

WIDTH = 100.0

KINDS = st.sampled_from(("start", "stop", "thread"))


def event(kind, time, number):
    match kind:
        case "start":
            return ProcessStart(time, 1, 2, number)
        case "stop":
            return ProcessStop(time, number)
        case _:
            return ThreadStart(time, 1, 2, 3, number)


@st.composite
def deliveries(draw, delay):
    """Events and the moments at which they come, in order of these."""
    drawn = draw(st.lists(st.tuples(KINDS, st.integers(0, 1000), delay)))
    came = [(time + late, event(kind, time, number)) for number, (kind, time, late) in enumerate(drawn)]
    return sorted(came, key=lambda pair: pair[0])


def through(window, came):
    """What *window* gives back of events that come at these moments."""
    out = []
    for now, each in came:
        window.add([each], now)
        out += window.release(now)
    return out + list(window.release())


@given(deliveries(st.floats(0, WIDTH)))
def test_what_comes_at_most_the_width_late_comes_out_in_the_order_of_a_sorted_recording(came):
    window = ReorderWindow(WIDTH)
    assert through(window, came) == sorted((each for _, each in came), key=order_of)
    assert window.misses == 0


@given(deliveries(st.floats(0, 5 * WIDTH)))
def test_every_event_comes_out_once_however_late_it_is(came):
    out = through(ReorderWindow(WIDTH), came)
    assert sorted(out, key=repr) == sorted((each for _, each in came), key=repr)


@given(deliveries(st.floats(0, 5 * WIDTH)))
def test_the_misses_are_the_events_that_came_behind_one_that_belongs_after_them(came):
    window = ReorderWindow(WIDTH)
    out = through(window, came)
    last, misses = (0, 0), 0
    for each in out:
        misses += order_of(each) < last
        last = max(last, order_of(each))
    assert window.misses == misses


@given(deliveries(st.floats(0, 5 * WIDTH)))
def test_no_event_is_held_longer_than_the_width(came):
    window = ReorderWindow(WIDTH)
    for now, each in came:
        window.add([each], now)
        assert each in [*window.release(now), *window.release(now + WIDTH)]


def test_an_event_is_held_until_the_width_is_over():
    window = ReorderWindow(WIDTH)
    window.add([event("thread", 5, 1)], 0.0)
    assert list(window.release(WIDTH - 1)) == []
    assert len(window) == 1
    assert list(window.release(WIDTH)) == [event("thread", 5, 1)]
    assert len(window) == 0


@pytest.mark.parametrize("kinds", [("thread", "start", "stop"), ("start", "thread", "stop")])
def test_at_one_tick_exits_come_before_starts_and_those_before_threads(kinds):
    window = ReorderWindow(WIDTH)
    window.add([event(kind, 5, 1) for kind in kinds], 0.0)
    assert [type(each) for each in window.release()] == [ProcessStop, ProcessStart, ThreadStart]
