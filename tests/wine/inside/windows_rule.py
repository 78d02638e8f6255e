"""Every row of the rule's table, in the loaded driver."""

import contextlib

import pytest

from etwdetect.kdetector import Device, service
from parity_tests.windows.injector import Injector

CREATOR = (1000, 1001)
OTHER = (2000, 2001)
TARGET = 3000
SYSTEM = (4, 40)
IDLE = (0, 0)


def reported(device):
    return [record[1:5] for record in device.drain()]


def counted(device):
    now = device.statistics()
    return {"first": now.first_threads, "own": now.own_threads, "excluded": now.excluded_threads}


def test_a_thread_in_another_process_is_remote(device, injector):
    injector.thread_created_by(*CREATOR, TARGET, 7)
    assert reported(device) == [(*CREATOR, TARGET, 7)]
    assert counted(device) == {"first": 0, "own": 0, "excluded": 0}


def test_a_thread_in_the_creators_own_process_is_not(device, injector):
    injector.thread_created_by(*CREATOR, CREATOR[0], 7)
    assert reported(device) == []
    assert counted(device) == {"first": 0, "own": 1, "excluded": 0}


@pytest.mark.parametrize("excluded", [SYSTEM, IDLE])
def test_idle_and_system_are_excluded_on_both_sides(device, injector, excluded):
    injector.thread_created_by(*excluded, TARGET, 7)
    injector.thread_created_by(*CREATOR, excluded[0], 8)
    assert reported(device) == []
    assert counted(device) == {"first": 0, "own": 0, "excluded": 2}


def test_the_first_thread_of_a_new_process_is_not_remote_the_second_is(device, injector):
    injector.process_created(TARGET)
    injector.thread_created_by(*CREATOR, TARGET, 7)
    injector.thread_created_by(*CREATOR, TARGET, 8)
    assert reported(device) == [(*CREATOR, TARGET, 8)]
    assert counted(device) == {"first": 1, "own": 0, "excluded": 0}


@pytest.mark.parametrize(("first", "row"), [(SYSTEM, "excluded"), ((TARGET, 1), "own"), (OTHER, "first")], ids=str)
def test_whoever_makes_the_first_thread_takes_the_process_out_of_the_table(device, injector, first, row):
    injector.process_created(TARGET)
    assert device.statistics().table_size == 1
    injector.thread_created_by(*first, TARGET, 7)
    assert device.statistics().table_size == 0
    injector.thread_created_by(*CREATOR, TARGET, 8)
    assert reported(device) == [(*CREATOR, TARGET, 8)]
    assert counted(device) == {"first": 0, "own": 0, "excluded": 0, row: 1}


def test_a_process_that_exits_leaves_the_table(device, injector):
    injector.process_created(TARGET)
    injector.process_exited(TARGET)
    injector.thread_created_by(*CREATOR, TARGET, 7)
    assert reported(device) == [(*CREATOR, TARGET, 7)]


def test_a_process_id_that_comes_again_has_one_entry(device, injector):
    injector.process_created(TARGET)
    injector.process_created(TARGET)
    assert device.statistics().table_size == 1
    injector.thread_created_by(*CREATOR, TARGET, 7)
    injector.thread_created_by(*CREATOR, TARGET, 8)
    assert reported(device) == [(*CREATOR, TARGET, 8)]


def test_a_thread_that_exits_is_nothing(device, injector):
    injector.process_created(TARGET)
    injector.thread_exited(TARGET, 7)
    assert device.statistics().threads_seen == 0
    assert device.statistics().table_size == 1


@contextlib.contextmanager
def running_with(install, **bounds):
    install(**bounds)
    service.start()
    with contextlib.closing(Injector()) as injector, Device(reading=True) as device:
        yield injector, device


def test_a_full_table_evicts_the_oldest_entry(install):
    with running_with(install, table_bound=2) as (injector, device):
        for pid in (3000, 3001, 3002):
            injector.process_created(pid)
        for pid in (3000, 3001, 3002):
            injector.thread_created_by(*CREATOR, pid, 7)
        assert reported(device) == [(*CREATOR, 3000, 7)]
        assert (device.statistics().evictions, device.statistics().table_bound) == (1, 2)


def test_a_full_queue_drops_the_oldest_record(install):
    with running_with(install, queue_bound=3) as (injector, device):
        for tid in range(5):
            injector.thread_created_by(*CREATOR, TARGET, tid)
        now = device.statistics()
        assert (now.reported, now.dropped, now.queued, now.queue_bound) == (5, 2, 3, 3)
        assert reported(device) == [(*CREATOR, TARGET, tid) for tid in (2, 3, 4)]
        assert device.statistics().delivered == 3
