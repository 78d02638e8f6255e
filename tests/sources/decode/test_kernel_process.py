"""Microsoft-Windows-Kernel-Process: every version of every event, its payload field by field in the test."""

import pytest

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from tests.bytes_by_hand import KERNEL_PROCESS, ansi, pointer, u8, u16, u32, u64, utf16

TIME = 133_000_000_000_000_000
BORN = 132_999_999_999_999_000
IMAGE_NAME = "\\Device\\HarddiskVolume2\\Windows\\notepad.exe"
MEDIUM_LABEL = bytes.fromhex("01 01 000000000010 00200000")  # S-1-16-8192
TWO_AUTHORITIES = bytes.fromhex("01 02 00000000000f 02000000 01000000")  # S-1-15-2-1

PACKAGE = u32(0x1234) + u32(0x5678) + utf16("Pack_1.0") + utf16("App")


def starts(version, label=MEDIUM_LABEL):
    """The payload of a ProcessStart: process 9320, parent 7000, session 3."""
    if version < 3:
        payload = u32(9320) + u64(BORN) + u32(7000) + u32(3)
        payload += (u32(0xF1A6) if version else b"") + utf16(IMAGE_NAME)
        return payload + (PACKAGE if version == 2 else b"")
    payload = u32(9320) + u64(0xAAAA_BBBB_CCCC) + u64(BORN) + u32(7000) + u64(0xDDDD_EEEE) + u32(3)
    payload += u32(0xF1A6) + u32(1) + u32(1) + label + utf16(IMAGE_NAME) + PACKAGE
    payload += u32(0x717) if version >= 4 else b""
    return payload + (u32(6) + u16(0x8664) if version >= 5 else b"")


KNOWN = {"parent_pid": 7000, "session_id": 3, "create_time": BORN, "image": IMAGE_NAME}


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("version", range(6))
def test_a_process_start_of_every_version_tells_all_it_knows(decoded, version, pointer_size):
    event = decoded(KERNEL_PROCESS, 1, version, starts(version), pointer_size)
    sequence = 0xAAAA_BBBB_CCCC if version >= 3 else None
    assert event == ProcessStart(TIME, 111, 222, 9320, **KNOWN, sequence=sequence)


def test_the_creator_of_a_process_is_in_the_header_and_not_the_parent(decoded):
    event = decoded(KERNEL_PROCESS, 1, 0, starts(0))
    assert (event.creator_pid, event.creator_tid, event.parent_pid) == (111, 222, 7000)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_mandatory_label_of_any_length_moves_the_image_name(decoded, version):
    assert decoded(KERNEL_PROCESS, 1, version, starts(version, TWO_AUTHORITIES)).image == IMAGE_NAME


@pytest.mark.parametrize("version", range(4))
def test_a_process_rundown_is_laid_out_as_the_start_two_versions_on(decoded, version):
    event = decoded(KERNEL_PROCESS, 15, version, starts(version + 2))
    assert event == ProcessRundown(TIME, 9320, **KNOWN, sequence=0xAAAA_BBBB_CCCC if version else None)


STOP_HEAD = u64(BORN) + u64(BORN + 9) + u32(0xC0000005) + u32(1) + u32(40) + u64(4096) + u64(8192)
STOP_COUNTERS = u64(123456789) + u32(1) + u32(2) + u32(3) + u32(4) + u32(5)


@pytest.mark.parametrize(
    ("version", "payload", "name_at"),
    [
        (0, u32(9320) + STOP_HEAD + ansi("notepad.exe"), 48),
        (1, u32(9320) + STOP_HEAD + STOP_COUNTERS + ansi("notepad.exe"), 76),
        (2, u32(9320) + u64(77) + STOP_HEAD + STOP_COUNTERS + ansi("notepad.exe"), 84),
    ],
)
def test_a_process_stop_of_every_version_tells_its_process(decoded, version, payload, name_at):
    assert payload.index(b"notepad.exe") == name_at
    assert decoded(KERNEL_PROCESS, 2, version, payload) == ProcessStop(
        TIME, 9320, create_time=BORN, image="notepad.exe", sequence=77 if version == 2 else None
    )


def test_a_sequence_number_of_0_is_none(decoded):
    payload = starts(3).replace(u64(0xAAAA_BBBB_CCCC), u64(0))
    assert decoded(KERNEL_PROCESS, 1, 3, payload).sequence is None


def thread_fields(size):
    """Process 9320, thread 8084, then stacks, StartAddr, Win32StartAddr 0x77001000 and TebBase."""
    addresses = 0xF001, 0xF002, 0xF003, 0xF004, 0xF005, 0x77001000, 0xF006
    return u32(9320) + u32(8084) + b"".join(pointer(size, address) for address in addresses)


@pytest.mark.parametrize(("version", "pointer_size", "length"), [(0, 8, 64), (0, 4, 36), (1, 8, 68), (1, 4, 40)])
def test_a_thread_start_tells_the_new_thread_its_creator_and_its_win32_start_address(
    decoded, version, pointer_size, length
):
    payload = thread_fields(pointer_size) + (u32(0x7A6) if version else b"")
    assert len(payload) == length
    event = decoded(KERNEL_PROCESS, 3, version, payload, pointer_size)
    assert event == ThreadStart(TIME, 111, 222, 9320, 8084, 0x77001000)


@pytest.mark.parametrize(("version", "pointer_size", "length"), [(0, 8, 64), (0, 4, 36), (1, 8, 76), (1, 4, 48)])
def test_a_thread_stop_of_every_version_tells_its_thread(decoded, version, pointer_size, length):
    payload = thread_fields(pointer_size) + (u32(0x7A6) + u64(5) if version else b"")
    assert len(payload) == length
    assert decoded(KERNEL_PROCESS, 4, version, payload, pointer_size) == ThreadStop(TIME, 9320, 8084)


def image_fields(size):
    """Base, size, process, checksum, time stamp, default base, name."""
    payload = pointer(size, 0x7FF0_0000) + pointer(size, 0x1B8000) + u32(9320) + u32(0xC5) + u32(0x5EED)
    return payload + pointer(size, 0x1_0000) + utf16("\\Windows\\System32\\ntdll.dll")


@pytest.mark.parametrize(("pointer_size", "name_at"), [(8, 36), (4, 24)])
def test_an_image_load_tells_where_it_lies_and_what_it_is(decoded, pointer_size, name_at):
    payload = image_fields(pointer_size)
    assert payload[name_at : name_at + 4] == b"\\\0W\0"
    event = decoded(KERNEL_PROCESS, 5, 0, payload, pointer_size)
    name = "\\Windows\\System32\\ntdll.dll"
    assert event == ImageLoad(TIME, 9320, 0x7FF0_0000, 0x1B8000, 0xC5, 0x5EED, name, rundown=False)


@pytest.mark.parametrize("pointer_size", [4, 8])
def test_an_image_unload_tells_where_it_lay(decoded, pointer_size):
    event = decoded(KERNEL_PROCESS, 6, 0, image_fields(pointer_size), pointer_size)
    assert event == ImageUnload(TIME, 9320, 0x7FF0_0000, 0x1B8000, "\\Windows\\System32\\ntdll.dll")


@pytest.mark.parametrize("address", [0, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_8000_0000_0000, 0x0123_4567_89AB_CDEF])
def test_a_start_address_of_any_value_is_told_as_it_is(decoded, address):
    payload = u32(1) + u32(2) + u64(0) * 5 + u64(address) + u64(0) + u32(0)
    assert decoded(KERNEL_PROCESS, 3, 1, payload).start_address == address


@pytest.mark.parametrize("name", ["", "a", "Ā.exe", "\u0100\u0001", "日本.exe", "\U0001f600.exe"], ids=ascii)
def test_an_image_name_ends_at_its_nul_character_and_not_at_two_zero_bytes(decoded, name):
    payload = u32(1) + u64(0) + u32(2) + u32(3) + utf16(name) + utf16("behind it")
    assert decoded(KERNEL_PROCESS, 1, 0, payload).image == name


def test_an_image_name_without_its_nul_goes_to_the_end_of_the_payload(decoded):
    payload = u32(1) + u64(0) + u32(2) + u32(3) + "abc".encode("utf-16-le")
    assert decoded(KERNEL_PROCESS, 1, 0, payload).image == "abc"
    assert decoded(KERNEL_PROCESS, 1, 0, payload + u8(0x44)).image == "abc"


def test_a_surrogate_without_its_other_half_survives(decoded):
    payload = u32(1) + u64(0) + u32(2) + u32(3) + b"a\0" + b"\x00\xd8" + b"\0\0"
    assert decoded(KERNEL_PROCESS, 1, 0, payload).image == "a\ud800"
