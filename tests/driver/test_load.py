"""Loading: settings, access control, order of the steps, debug lines."""

import pytest

from parity_tests.simulators.simkernel import SimKernel, StatusError

PARENT = (600, 604)


def test_only_system_and_administrators_may_open_the_device(kernel):
    assert kernel.device_security == "D:P(A;;0x1f01ff;;;S-1-5-18)(A;;0x1f01ff;;;S-1-5-32-544)"


@pytest.mark.parametrize(
    ("value", "bound"),
    [(1, 1), (5000, 5000), (1_048_576, 1_048_576), (1_048_577, 1_048_576), (0xFFFF_FFFF, 1_048_576)],
)
def test_bounds_come_from_the_registry(library, value, bound):
    with SimKernel(library, table_bound=value, queue_bound=value) as kernel:
        statistics = kernel.statistics()
        assert (statistics.table_bound, statistics.queue_bound) == (bound, bound)


@pytest.mark.parametrize("value", [0, "12", "a long string, longer than a number"])
def test_what_is_no_bound_is_the_default(library, value):
    with SimKernel(library, table_bound=value, queue_bound=value) as kernel:
        statistics = kernel.statistics()
        assert (statistics.table_bound, statistics.queue_bound) == (16_384, 65_536)


def test_each_bound_has_its_own_default(library):
    with SimKernel(library, queue_bound=7) as kernel:
        statistics = kernel.statistics()
        assert (statistics.table_bound, statistics.queue_bound) == (16_384, 7)


def test_processes_made_while_it_loads_are_judged_rightly(kernel):
    kernel.unload()
    kernel.set_busy(busy=True)
    kernel.load()
    kernel.set_busy(busy=False)
    statistics = kernel.statistics()
    # The first process was made before threads were watched, and waits for its next one.
    assert (statistics.first_threads, statistics.reported, statistics.table_size) == (1, 0, 1)


def test_a_step_that_fails_fails_the_load_and_leaves_nothing(kernel):
    kernel.unload()
    kernel.set_registry_value("TableBound", 1000)
    failed = []
    while True:
        kernel.fail_call(len(failed) + 1)
        try:
            kernel.load()
        except StatusError:
            assert not kernel.is_loaded
        else:
            kernel.unload()
        if not kernel.failed_routine:
            break
        failed.append(kernel.failed_routine)
    kernel.fail_call(0)
    # The order matters: settings, table, queue, device, its access list, link, processes, threads.
    assert failed == [
        "ExAllocatePoolWithTag",
        "ZwOpenKey",
        "ZwOpenKey",
        "ZwQueryValueKey",
        "ZwQueryValueKey",
        "ExInitializeResourceLite",
        "ExInitializeLookasideListEx",
        "ExAllocatePoolWithTag",
        "ExInitializeLookasideListEx",
        "IoCreateDevice",
        "RtlCreateAcl",
        "RtlAddAccessAllowedAce",
        "RtlAddAccessAllowedAce",
        "RtlCreateSecurityDescriptor",
        "RtlSetDaclSecurityDescriptor",
        "ObOpenObjectByPointer",
        "ZwSetSecurityObject",
        "IoCreateSymbolicLink",
        "PsSetCreateProcessNotifyRoutineEx",
        "PsSetCreateThreadNotifyRoutine",
    ]


class TestDebugLines:
    INFO = 1 << 3

    @pytest.fixture
    def talking(self, kernel):
        kernel.set_debug_mask(self.INFO)
        yield kernel
        kernel.set_debug_mask(0)
        kernel.take_debug_output()

    def test_a_new_process(self, talking):
        talking.process_created(PARENT, 4_000_000_000)
        assert talking.take_debug_output() == "KDetector: New process added: 4000000000\n"

    def test_no_room(self, talking):
        talking.fail_allocation(1)
        talking.process_created(PARENT, 1000)
        assert talking.take_debug_output() == "KDetector: New process created, no room to store\n"

    def test_a_remote_thread(self, talking):
        talking.thread_created((7392, 4788), 8336, 9384)
        assert talking.take_debug_output() == (
            "KDetector: Remote thread detected. (PID: 7392, TID: 4788) -> (PID: 8336, TID: 9384)\n"
        )

    def test_nothing_else_is_said(self, talking):
        talking.process_exited(1000, 1001)
        talking.thread_created((1000, 1), 1000, 2)
        talking.thread_created((4, 8), 1000, 3)
        talking.thread_exited(1000, 2)
        assert talking.take_debug_output() == ""

    def test_a_closed_filter_hides_them(self, talking):
        talking.set_debug_mask(~self.INFO & 0xFFFF_FFFF)
        talking.thread_created((7392, 4788), 8336, 9384)
        assert talking.take_debug_output() == ""
