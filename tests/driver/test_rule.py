"""The rule's table, row for row, on the driver."""

import pytest

from etwdetect.core.rule import RemoteThread
from parity_tests.simulators.simkernel import Kind, SimEvent, SimKernel

SYSTEM = (4, 100)
IDLE = (0, 0)
PARENT = (600, 604)
OTHER = (700, 704)
NEW = 1000


def counted(kernel):
    s = kernel.statistics()
    return {
        name: value
        for name, value in (
            ("first", s.first_threads),
            ("own", s.own_threads),
            ("excluded", s.excluded_threads),
            ("remote", s.reported),
            ("table", s.table_size),
        )
        if value
    }


class TestProcess:
    def test_a_created_process_joins_the_table(self, kernel):
        kernel.process_created(PARENT, NEW)
        assert counted(kernel) == {"table": 1}

    def test_an_exited_process_leaves_it(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.process_exited(NEW, 1001)
        assert counted(kernel) == {}

    def test_the_exit_of_an_unknown_process_changes_nothing(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.process_exited(NEW + 4, 1001)
        assert counted(kernel) == {"table": 1}

    def test_a_process_is_in_the_table_once(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.process_created(PARENT, NEW)
        assert counted(kernel) == {"table": 1}
        kernel.thread_created(PARENT, NEW, 1)
        kernel.thread_created(PARENT, NEW, 2)
        assert counted(kernel) == {"first": 1, "remote": 1}

    def test_after_a_leaked_entry_a_reused_id_is_new_once(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.process_exited(NEW, 1001)
        kernel.thread_created(OTHER, NEW, 1)
        assert counted(kernel) == {"remote": 1}


class TestThread:
    def test_of_its_own_process(self, kernel):
        kernel.thread_created((NEW, 1), NEW, 2)
        assert counted(kernel) == {"own": 1}

    def test_of_its_own_process_takes_the_entry(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created((NEW, 1), NEW, 2)
        kernel.thread_created(PARENT, NEW, 3)
        assert counted(kernel) == {"own": 1, "remote": 1}

    @pytest.mark.parametrize("creator", [IDLE, SYSTEM])
    def test_made_by_an_excluded_process(self, kernel, creator):
        kernel.thread_created(creator, NEW, 1)
        assert counted(kernel) == {"excluded": 1}

    @pytest.mark.parametrize("creator", [IDLE, SYSTEM])
    def test_made_by_an_excluded_process_takes_the_entry(self, kernel, creator):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(creator, NEW, 1)
        kernel.thread_created(PARENT, NEW, 2)
        assert counted(kernel) == {"excluded": 1, "remote": 1}

    @pytest.mark.parametrize("target", [0, 4])
    def test_made_in_an_excluded_process(self, kernel, target):
        kernel.thread_created(OTHER, target, 1)
        assert counted(kernel) == {"excluded": 1}

    @pytest.mark.parametrize("pid", [0, 4])
    def test_an_excluded_process_may_make_its_own(self, kernel, pid):
        kernel.thread_created((pid, 1), pid, 2)
        assert counted(kernel) == {"own": 1}

    def test_between_two_excluded_processes(self, kernel):
        kernel.thread_created(SYSTEM, 0, 1)
        assert counted(kernel) == {"excluded": 1}

    @pytest.mark.parametrize("creator", [PARENT, OTHER])
    def test_the_first_whoever_makes_it(self, kernel, creator):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(creator, NEW, 1)
        assert counted(kernel) == {"first": 1}

    def test_the_second_from_outside_is_remote(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(PARENT, NEW, 1)
        kernel.thread_created(PARENT, NEW, 2)
        assert counted(kernel) == {"first": 1, "remote": 1}

    def test_in_an_old_process_is_remote(self, kernel):
        kernel.thread_created((7392, 4788), 8336, 9384, time=133_000_000_000_000_001)
        assert kernel.drain() == [RemoteThread(133_000_000_000_000_001, 7392, 4788, 8336, 9384)]

    def test_that_exits_changes_nothing(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.thread_exited(NEW, 1)
        assert counted(kernel) == {"table": 1}

    def test_at_apc_level(self, kernel):
        kernel.set_thread_notification_irql(1)
        kernel.process_created(PARENT, NEW)
        for tid in (1, 2):
            kernel.thread_created(PARENT, NEW, tid)
        kernel.set_thread_notification_irql(0)
        assert counted(kernel) == {"first": 1, "remote": 1}

    def test_ids_of_32_bits(self, kernel):
        top = 0xFFFF_FFFC
        kernel.process_created(PARENT, top)
        kernel.thread_created((top - 4, top), top, top - 8, time=5)
        kernel.thread_created((top - 4, top), top, top - 8, time=6)
        assert kernel.drain() == [RemoteThread(6, top - 4, top, top, top - 8)]


class TestPublishedDriver:
    """Where the first published driver answered otherwise."""

    def test_the_33rd_process_that_waits(self, kernel):
        pids = range(NEW, NEW + 33 * 4, 4)
        kernel.play(SimEvent(0, Kind.PROCESS_CREATED, *PARENT, pid) for pid in pids)
        kernel.play(SimEvent(0, Kind.THREAD_CREATED, *PARENT, pid, pid + 1) for pid in pids)
        assert counted(kernel) == {"first": 33}

    def test_an_entry_whose_first_thread_the_system_made_swallows_no_hit(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(SYSTEM, NEW, 1)
        kernel.thread_created(OTHER, NEW, 2, time=7)
        assert kernel.drain() == [RemoteThread(7, *OTHER, NEW, 2)]

    def test_an_id_used_again_after_its_process_had_no_thread(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.process_exited(NEW, 1)
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(PARENT, NEW, 1)
        kernel.thread_created(OTHER, NEW, 2)
        assert counted(kernel) == {"first": 1, "remote": 1}


class TestTableBound:
    def test_a_full_table_gives_up_its_oldest(self, library):
        with SimKernel(library, table_bound=3) as kernel:
            for pid in (1000, 1004, 1008, 1012):
                kernel.process_created(PARENT, pid)
            assert kernel.statistics().evictions == 1
            for pid in (1000, 1004, 1008, 1012):
                kernel.thread_created(PARENT, pid, pid + 1)
            assert [record.pid for record in kernel.drain()] == [1000]

    def test_a_process_made_again_is_the_newest(self, library):
        with SimKernel(library, table_bound=2) as kernel:
            for pid in (1000, 1004, 1000, 1008):
                kernel.process_created(PARENT, pid)
            assert kernel.statistics().evictions == 1
            for pid in (1000, 1004, 1008):
                kernel.thread_created(PARENT, pid, pid + 1)
            assert [record.pid for record in kernel.drain()] == [1004]

    def test_one_entry_is_enough_to_work(self, library):
        with SimKernel(library, table_bound=1) as kernel:
            kernel.process_created(PARENT, 1000)
            kernel.process_created(PARENT, 1004)
            kernel.thread_created(PARENT, 1004, 1)
            assert counted(kernel) == {"first": 1}

    def test_a_full_table_needs_no_memory(self, library):
        with SimKernel(library, table_bound=1) as kernel:
            kernel.process_created(PARENT, 1000)
            kernel.fail_allocation(1, again=True)
            kernel.process_created(PARENT, 1004)
            kernel.fail_allocation(0)
            kernel.thread_created(PARENT, 1004, 1)
            assert counted(kernel) == {"first": 1}


class TestMemory:
    def test_a_process_without_memory_is_counted_and_not_stored(self, kernel):
        kernel.fail_allocation(1)
        kernel.process_created(PARENT, NEW)
        kernel.thread_created(PARENT, NEW, 1)
        assert kernel.statistics().allocation_failures == 1
        assert counted(kernel) == {"remote": 1}

    def test_a_record_without_memory_is_counted_as_dropped(self, kernel):
        kernel.fail_allocation(1)
        kernel.thread_created(OTHER, NEW, 1)
        kernel.thread_created(OTHER, NEW, 2)
        statistics = kernel.statistics()
        assert (statistics.allocation_failures, statistics.dropped, statistics.reported) == (1, 1, 2)
        assert [record.tid for record in kernel.drain()] == [2]


class TestLocks:
    def test_an_own_thread_without_an_entry_takes_none(self, kernel):
        kernel.play(SimEvent(0, Kind.PROCESS_CREATED, *PARENT, pid) for pid in range(1000, 1400, 4))
        before = kernel.lock_acquisitions
        kernel.thread_created((2000, 1), 2000, 2)
        assert kernel.lock_acquisitions == before

    def test_even_when_another_process_shares_its_bucket(self, library):
        # Two buckets: about every second process shares the one that is not empty.
        with SimKernel(library, table_bound=1) as kernel:
            kernel.process_created(PARENT, NEW)
            before = kernel.lock_acquisitions
            for pid in range(2000, 2400, 4):
                kernel.thread_created((pid, 1), pid, 2)
            assert kernel.lock_acquisitions == before

    def test_an_own_thread_with_an_entry_takes_one(self, kernel):
        kernel.process_created(PARENT, NEW)
        before = kernel.lock_acquisitions
        kernel.thread_created((NEW, 1), NEW, 2)
        assert kernel.lock_acquisitions == before + 1

    def test_once_the_entry_is_gone_none_is_taken_any_more(self, kernel):
        kernel.process_created(PARENT, NEW)
        kernel.thread_created((NEW, 1), NEW, 2)
        before = kernel.lock_acquisitions
        kernel.thread_created((NEW, 1), NEW, 3)
        assert kernel.lock_acquisitions == before

    def test_when_in_doubt_the_lock_decides(self, library):
        # Sixteen entries in two times eight buckets: some bucket has two, and can't say without the lock.
        with SimKernel(library, table_bound=16) as kernel:
            waiting = range(1000, 1064, 4)
            kernel.play(SimEvent(0, Kind.PROCESS_CREATED, *PARENT, pid) for pid in waiting)
            for pid in range(2000, 2400, 4):
                kernel.thread_created((pid, 1), pid, 2)
            assert counted(kernel) == {"own": 100, "table": 16}
            kernel.play(SimEvent(0, Kind.THREAD_CREATED, *PARENT, pid, 1) for pid in waiting)
            assert counted(kernel) == {"own": 100, "first": 16}
