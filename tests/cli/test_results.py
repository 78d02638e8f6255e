"""What the commands do with what they found, shown on `scan`."""

import json
from pathlib import Path

import pytest

from etwdetect.output.record import from_json
from tests.traces_by_writer import SECOND, START, attack, write_trace

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"


@pytest.fixture
def busy(tmp_path):
    """A trace with five threads of one pair of processes: at 10, 11, 12, 30 and 100 seconds."""
    first, *_ = listed = attack()
    events = [*listed[:2], *(attack(START + n * SECOND)[2]._replace(tid=n) for n in (10, 11, 12, 30, 100))]
    assert first in events
    return write_trace(tmp_path / "busy.etl", events)


def counts(done):
    return [(each.thread.tid, each.count) for each in map(from_json, done.out.splitlines())]


def test_fold_joins_repeats_into_one_with_a_count_and_the_time_of_the_last(etwdetect, busy):
    done = etwdetect("scan", busy, "--format", "json", "--fold", "5")
    assert counts(done) == [(10, 3), (30, 1), (100, 1)]
    assert json.loads(done.out.splitlines()[0])["LastTime"] == str(START + 12 * SECOND)
    assert "LastTime" not in json.loads(done.out.splitlines()[1])
    assert "5 remote threads" in done.err


def test_fold_without_a_number_is_a_minute(etwdetect, busy):
    assert counts(etwdetect("scan", busy, "--format", "json", "--fold")) == [(10, 4), (100, 1)]
    line = etwdetect("scan", busy, "--utc", "--fold").out.splitlines()[0]
    assert line.startswith("00:00:10.000: Remote Thread from PID: 100 TID: 101 -> PID: 200 TID: 10  evil.exe")
    assert "  4 times until 00:00:30.000" in line


def test_what_is_not_shown_is_not_counted_in_a_fold(etwdetect, busy):
    done = etwdetect("scan", busy, "--format", "json", "--fold", "--utc", "--since", "2020-05-12T00:00:11")
    assert counts(done) == [(11, 3), (100, 1)]


def test_traces_are_folded_each_alone(etwdetect, busy):
    assert counts(etwdetect("scan", busy, busy, "--format", "json", "--fold=1000")) == [(10, 5), (10, 5)]


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "1e10"])
def test_a_window_that_is_none_is_a_usage_error(etwdetect, busy, wrong):
    assert etwdetect("scan", busy, f"--fold={wrong}").status == 2


def test_a_trace_taken_for_the_window_is_told_how_to_be_written(etwdetect, busy):
    done = etwdetect("scan", "--fold", busy)
    assert done.status == 2
    assert "put --fold last, or write --fold=60" in done.err
