"""Buffer headers: the fields at their offsets, and what can't be one."""

import pytest

from etwdetect.sources.etl import buffers
from tests.bytes_by_hand import buffer_header

HEADER = bytes.fromhex(
    "00200000 b8010000 00000000 00000000"  # size 0x2000, saved offset
    "8877665544332211 0000000000000000"  # time stamp, sequence number
    "0000000000000000 0500 0600 03000000"  # processor 5, logger 6, state 3
    "08020000 4600 0100"  # filled 0x208; flags: compressed, buffer lost, events lost; kind 1
    "00000000000000000000000000000000"
)


def test_the_fields_stand_at_their_offsets():
    assert len(HEADER) == buffers.HEADER_SIZE == 0x48
    header = buffers.parse(b"\xee" * 5 + HEADER, 5)
    assert (header.size, header.filled, header.cpu, header.logger_id) == (0x2000, 0x208, 5, 6)
    assert (header.state, header.flags, header.kind) == (3, 0x46, 1)


def test_a_header_that_is_packed_and_parsed_is_the_same():
    header = buffers.parse(HEADER)
    assert len(header.pack()) == 0x48
    assert buffers.parse(header.pack()) == header


@pytest.mark.parametrize(
    ("flags", "compressed"), [(0x40, True), (0x46, True), (0x00, False), (0x06, False), (0xBF, False)]
)
def test_flag_0x40_and_no_other_means_compressed(flags, compressed):
    assert buffers.parse(buffer_header(4096, 72, flags=flags)).compressed is compressed


@pytest.mark.parametrize(
    ("size", "filled", "flags"),
    [(0x48, 0x48, 0), (4096, 4096, 0), (24330, 500, 0), (16 << 20, 16 << 20, 0), (100, 65536, 0x40)],
)
def test_a_header_that_can_be_has_no_fault(size, filled, flags):
    assert buffers.parse(buffer_header(size, filled, flags=flags)).fault() is None


@pytest.mark.parametrize(
    ("size", "filled", "flags", "fault"),
    [
        (0, 0, 0, "invalid buffer size of 0 bytes"),
        (0x47, 0x48, 0, "invalid buffer size of 71 bytes"),
        ((16 << 20) + 1, 0x48, 0, "invalid buffer size of 16777217 bytes"),
        (0xFFFFFFFF, 0xFFFFFFFF, 0, "invalid buffer size of 4294967295 bytes"),
        (4096, 0x47, 0, "invalid buffer fill of 71 bytes"),
        (4096, (16 << 20) + 1, 0x40, "invalid buffer fill of 16777217 bytes"),
        (4096, 4097, 0, "a buffer of 4096 bytes cannot hold 4097"),
    ],
)
def test_a_header_that_cannot_be_says_why(size, filled, flags, fault):
    assert buffers.parse(buffer_header(size, filled, flags=flags)).fault() == fault
