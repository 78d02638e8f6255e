import pytest

from etwdetect.core.events import Loss
from etwdetect.live.losses import Losses
from etwdetect.live.session import SessionStatus


def state(events, buffers=0):
    return SessionStatus(events, buffers, 1, 0)


@pytest.fixture
def losses():
    return Losses()


def test_nothing_lost_is_nothing_told(losses):
    losses.counted(state(0))
    assert losses.unreported(1) is None


def test_each_loss_is_told_once(losses):
    losses.counted(state(3, 1))
    assert losses.unreported(1) == Loss(1, 3, 1)
    assert losses.unreported(2) is None
    losses.counted(state(5, 1))
    assert losses.unreported(3) == Loss(3, 2, 0)


def test_the_counts_of_a_new_session_begin_at_zero(losses):
    losses.counted(state(3))
    losses.unreported(1)
    losses.session_ended()
    losses.counted(state(1))
    assert losses.unreported(2) == Loss(2, 1)


def test_what_windows_counts_and_what_its_events_say_is_the_same_loss(losses):
    losses.recorded = 3
    assert losses.unreported(1) == Loss(1, 3)
    losses.counted(state(3))
    assert losses.unreported(2) is None


def test_what_was_dropped_here_comes_on_top(losses):
    losses.counted(state(3))
    losses.dropped = 2
    assert losses.unreported(1) == Loss(1, 5)


def test_a_count_that_goes_back_takes_nothing_back(losses):
    losses.counted(state(3))
    losses.counted(state(0))
    assert losses.unreported(1) == Loss(1, 3)
