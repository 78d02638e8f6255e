"""The device: who may open it, what a read and a control code answer, when the driver goes."""

import pytest

from etwdetect.kdetector.interface import IOCTL_STATISTICS, IOCTL_VERSION, RECORD
from parity_tests.simulators.simkernel import FILE_READ_DATA, SimKernel, StatusError, Version

INVALID_DEVICE_REQUEST = 0xC0000010
ACCESS_DENIED = 0xC0000022
BUFFER_TOO_SMALL = 0xC0000023
NO_SUCH_DEVICE = 0xC000000E
OBJECT_NAME_NOT_FOUND = 0xC0000034
SHARING_VIOLATION = 0xC0000043
INSUFFICIENT_RESOURCES = 0xC000009A
INVALID_BUFFER_SIZE = 0xC0000206

GENERIC_READ = 0x80000000
MAXIMUM_ALLOWED = 0x02000000
FILE_WRITE_DATA = 0x2


def refused(call, *arguments):
    with pytest.raises(StatusError) as caught:
        call(*arguments)
    return caught.value.status


def inject(kernel, count):
    for tid in range(count):
        kernel.thread_created((700, 704), 1000, tid, time=tid)


@pytest.fixture
def reader(kernel):
    handle = kernel.open(FILE_READ_DATA)
    yield handle
    kernel.close(handle)


class TestRead:
    def test_an_empty_queue_is_a_success_of_no_bytes(self, kernel, reader):
        assert kernel.read(reader, 24) == b""

    def test_a_record_is_24_bytes(self, kernel, reader):
        kernel.thread_created((0x01020304, 0x05060708), 0x090A0B0C, 0x0D0E0F10, time=0x1112131415161718)
        assert kernel.read(reader, 100) == bytes.fromhex("1817161514131211 04030201 08070605 0c0b0a09 100f0e0d")

    def test_oldest_first(self, kernel, reader):
        inject(kernel, 5)
        assert [record.tid for record in kernel.read_records(reader)] == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("size", [24, 25, 47])
    def test_only_whole_records(self, kernel, reader, size):
        inject(kernel, 2)
        assert len(kernel.read(reader, size)) == 24
        assert kernel.statistics().queued == 1

    def test_as_many_as_fit(self, kernel, reader):
        inject(kernel, 5)
        assert [len(kernel.read(reader, 2 * RECORD.size)) for _ in range(4)] == [48, 48, 24, 0]

    def test_more_than_fits_into_many_reads(self, kernel, reader):
        inject(kernel, 1000)
        records = kernel.read_records(reader, 1001)
        assert [record.tid for record in records] == list(range(1000))
        assert kernel.statistics().delivered == 1000

    def test_no_bytes(self, kernel, reader):
        inject(kernel, 1)
        assert refused(kernel.read, reader, 0) == INVALID_BUFFER_SIZE
        assert kernel.statistics().queued == 1

    @pytest.mark.parametrize("size", [1, 23])
    def test_less_than_a_record(self, kernel, reader, size):
        inject(kernel, 1)
        assert refused(kernel.read, reader, size) == BUFFER_TOO_SMALL
        assert kernel.statistics().queued == 1

    def test_a_buffer_that_cannot_be_mapped(self, kernel, reader):
        inject(kernel, 1)
        kernel.fail_call(1)
        assert refused(kernel.read, reader, 24) == INSUFFICIENT_RESOURCES
        kernel.fail_call(0)
        assert kernel.statistics().queued == 1


class TestQueueBound:
    def test_a_full_queue_drops_its_oldest(self, library):
        with SimKernel(library, queue_bound=3) as kernel:
            inject(kernel, 5)
            statistics = kernel.statistics()
            assert (statistics.reported, statistics.dropped, statistics.queued) == (5, 2, 3)
            assert [(record.tid, record.time) for record in kernel.drain()] == [(2, 2), (3, 3), (4, 4)]

    def test_records_left_at_unload_are_freed(self, kernel):
        inject(kernel, 100)


class TestOpen:
    @pytest.mark.usefixtures("reader")
    @pytest.mark.parametrize("access", [FILE_READ_DATA, GENERIC_READ, GENERIC_READ | FILE_WRITE_DATA])
    def test_one_reader_at_a_time(self, kernel, access):
        assert refused(kernel.open, access) == SHARING_VIOLATION

    def test_the_next_reader_may_come_when_the_last_has_gone(self, kernel):
        for _ in range(3):
            kernel.close(kernel.open(GENERIC_READ))

    @pytest.mark.usefixtures("reader")
    def test_a_refused_reader_does_not_free_the_place(self, kernel):
        assert refused(kernel.open, FILE_READ_DATA) == SHARING_VIOLATION
        assert refused(kernel.open, FILE_READ_DATA) == SHARING_VIOLATION

    @pytest.mark.usefixtures("reader")
    def test_nor_does_one_who_only_asks(self, kernel):
        kernel.close(kernel.open(0))
        assert refused(kernel.open, FILE_READ_DATA) == SHARING_VIOLATION

    @pytest.mark.usefixtures("reader")
    def test_any_number_may_ask_beside_a_reader(self, kernel):
        handles = [kernel.open(access) for access in (0, 0, FILE_WRITE_DATA)]
        for handle in handles:
            assert len(kernel.ioctl(handle, IOCTL_VERSION, 8)) == 8
            kernel.close(handle)

    def test_who_only_asks_cannot_read(self, kernel):
        handle = kernel.open(0)
        assert refused(kernel.read, handle, 24) == ACCESS_DENIED
        kernel.close(handle)

    def test_not_even_from_the_kernel(self, kernel):
        handle = kernel.open(0)
        kernel.set_kernel_mode(kernel_mode=True)
        assert refused(kernel.read, handle, 24) == ACCESS_DENIED
        kernel.set_kernel_mode(kernel_mode=False)
        kernel.close(handle)

    def test_all_rights_include_reading(self, kernel):
        handle = kernel.open(MAXIMUM_ALLOWED)
        assert refused(kernel.open, FILE_READ_DATA) == SHARING_VIOLATION
        kernel.close(handle)


class TestControl:
    def test_version(self, kernel):
        assert kernel.version() == Version(version=1, record_size=24)

    def test_statistics_of_a_driver_just_loaded(self, kernel):
        assert kernel.statistics() == (*[0] * 9, 16_384, 65_536, 0, 0)

    def test_statistics(self, library):
        with SimKernel(library, table_bound=2, queue_bound=3) as kernel:
            for pid in (1000, 1004, 1008):
                kernel.process_created((600, 604), pid)
            kernel.thread_created((600, 604), 1008, 1)
            kernel.thread_created((1008, 1), 1008, 2)
            kernel.thread_created((4, 8), 1008, 3)
            inject(kernel, 5)
            reading = kernel.open(FILE_READ_DATA)
            kernel.read(reading, RECORD.size)
            kernel.close(reading)
            assert kernel.statistics()._asdict() == {
                "threads_seen": 8,
                "first_threads": 1,
                "own_threads": 1,
                "excluded_threads": 1,
                "reported": 5,
                "dropped": 2,
                "table_size": 1,
                "evictions": 1,
                "allocation_failures": 0,
                "table_bound": 2,
                "queue_bound": 3,
                "queued": 2,
                "delivered": 1,
            }

    @pytest.mark.parametrize(("code", "size"), [(IOCTL_VERSION, 8), (IOCTL_STATISTICS, 104)])
    def test_room(self, kernel, code, size):
        handle = kernel.open(0)
        for room in (0, size - 1):
            assert refused(kernel.ioctl, handle, code, room) == BUFFER_TOO_SMALL
        assert len(kernel.ioctl(handle, code, size)) == size
        assert len(kernel.ioctl(handle, code, 4096)) == size
        kernel.close(handle)

    # The next function, another access, another method, another device type.
    @pytest.mark.parametrize("code", [0x80002008, 0x80006000, 0x80002001, 0x00222000, 0])
    def test_unknown(self, kernel, code):
        handle = kernel.open(0)
        assert refused(kernel.ioctl, handle, code, 4096) == INVALID_DEVICE_REQUEST
        kernel.close(handle)


class TestUnload:
    def test_nobody_finds_the_device_afterwards(self, kernel):
        assert kernel.unload()
        assert refused(kernel.open, 0) == OBJECT_NAME_NOT_FOUND

    def test_waits_for_the_last_handle(self, kernel):
        first, second = kernel.open(FILE_READ_DATA), kernel.open(0)
        assert not kernel.unload()
        assert refused(kernel.open, 0) == NO_SUCH_DEVICE
        kernel.close(first)
        assert kernel.is_loaded
        kernel.close(second)
        assert not kernel.is_loaded

    def test_counts_start_again(self, kernel):
        inject(kernel, 3)
        kernel.unload()
        kernel.load()
        assert kernel.statistics().reported == 0
        assert kernel.drain() == []
