"""The list of the kernel's images, as Windows answers it: by hand-written bytes."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.windows.kernel import KernelImage, read

BASE = 0xFFFF_F802_16C0_0000
KERNEL = b"\\SystemRoot\\system32\\ntoskrnl.exe"


def module(base, size, path):
    return pack("<QQQIIHHHH256s", 0, 0, base, size, 0, 0, 0, 1, 21, path)


def test_each_image_has_its_place_and_its_path():
    answer = (
        pack("<II", 2, 0) + module(BASE, 0x100_0000, KERNEL) + module(BASE + 0x200_0000, 0x1000, b"\\x\xe9.sys")
    )
    assert list(read(answer)) == [
        KernelImage(BASE, 0x100_0000, "\\SystemRoot\\system32\\ntoskrnl.exe"),
        KernelImage(BASE + 0x200_0000, 0x1000, "\\x\\xe9.sys"),
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 0xFFFF_FFFF])
def test_no_more_are_read_than_there_are(count):
    answer = pack("<II", count, 0) + module(BASE, 1, KERNEL) + b"rest"
    assert len(list(read(answer))) == min(count, 1)


def test_addresses_that_windows_keeps_to_itself_are_left_out():
    assert list(read(pack("<II", 1, 0) + module(0, 0x1000, KERNEL))) == []


@given(st.binary(min_size=8, max_size=1000))
def test_any_bytes_can_be_read(answer):
    assert all(len(image.path) <= 4 * 256 for image in read(answer))
