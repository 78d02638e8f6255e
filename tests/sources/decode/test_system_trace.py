"""The NT Kernel Logger: every version of every event, its payload field by field in the test."""

import pytest

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
    ThreadStop,
    VolumeMapping,
)
from etwdetect.core.raw import SYSTEM_CONFIG, SYSTEM_CONFIG_EX, RawEvent
from etwdetect.sources.decode import Decoder
from tests.bytes_by_hand import IMAGE, PROCESS, THREAD, ansi, pointer, u8, u16, u32, u64, utf16

TIME = 133_000_000_000_000_000
KEY = 0x8A5B_C040
LOCAL_SYSTEM = bytes.fromhex("01 01 000000000005 12000000")  # S-1-5-18
A_USER = bytes.fromhex("01 05 000000000005 15000000 11111111 22222222 33333333 e8030000")

SIZES = pytest.mark.parametrize("pointer_size", [4, 8])
PROCESS_VERSIONS = pytest.mark.parametrize("version", range(6))


def user(size, sid):
    """TOKEN_USER, whose pointer means nothing but is not 0, and the SID; u32 0 where there is none."""
    return pointer(size, 0xE1C0_1234) + pointer(size, 0) + sid if sid else u32(0)


def process_fields(version, size, sid=LOCAL_SYSTEM):
    """Process 7608, parent 972, session 1, image cmd.exe and, from V2 on, a command line."""
    if version == 0:
        return pointer(size, 7608) + pointer(size, 972) + user(size, sid) + ansi("cmd.exe")
    payload = pointer(size, KEY) + u32(7608) + u32(972) + u32(1) + u32(259)
    payload += pointer(size, 0x1AD000) if version >= 3 else b""
    payload += u32(0x10) if version >= 4 else b""
    payload += user(size, sid) + ansi("cmd.exe")
    payload += utf16("cmd.exe /c ver") if version >= 2 else b""
    payload += utf16("Pack") + utf16("App") if version >= 4 else b""
    return payload + (u64(TIME) if version >= 5 else b"")


def known(version, sid=LOCAL_SYSTEM):
    return {
        "parent_pid": 972,
        "session_id": 1 if version else None,
        "create_time": None,
        "sid": sid,
        "image": "cmd.exe",
        "command_line": "cmd.exe /c ver" if version >= 2 else None,
    }


@SIZES
@PROCESS_VERSIONS
@pytest.mark.parametrize("sid", [None, LOCAL_SYSTEM, A_USER], ids=["no-sid", "system", "user"])
def test_a_process_start_of_every_version_tells_all_it_knows(decoded, version, pointer_size, sid):
    event = decoded(PROCESS, 1, version, process_fields(version, pointer_size, sid), pointer_size)
    assert event == ProcessStart(TIME, 111, 222, 7608, **known(version, sid))


@SIZES
@PROCESS_VERSIONS
def test_a_process_stop_of_every_version_tells_its_process(decoded, version, pointer_size):
    payload = process_fields(version, pointer_size)
    assert decoded(PROCESS, 2, version, payload, pointer_size) == ProcessStop(TIME, 7608, **known(version))


@SIZES
@PROCESS_VERSIONS
@pytest.mark.parametrize("opcode", [3, 4, 39], ids=["DCStart", "DCEnd", "Defunct"])
def test_a_process_rundown_of_every_version_tells_all_it_knows(decoded, opcode, version, pointer_size):
    event = decoded(PROCESS, opcode, version, process_fields(version, pointer_size), pointer_size)
    assert event == ProcessRundown(TIME, 7608, **known(version))


@pytest.mark.parametrize(
    ("version", "pointer_size", "sid_at"),
    [(1, 8, 24), (1, 4, 20), (2, 8, 24), (2, 4, 20), (3, 8, 32), (3, 4, 24), (4, 8, 36), (4, 4, 28)],
)
def test_the_payloads_of_these_tests_have_their_sid_where_the_format_has_it(version, pointer_size, sid_at):
    with_pointer = process_fields(version, pointer_size).index(LOCAL_SYSTEM)
    assert with_pointer - 2 * pointer_size == sid_at


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_a_payload_with_the_other_pointer_size_than_its_header_is_recognised(decoded, version):
    """A 32-bit program can log a 64-bit kernel's layout into a 32-bit trace, and the other way round."""
    for said, written in ((4, 8), (8, 4)):
        event = decoded(PROCESS, 1, version, process_fields(version, written), said)
        assert event == ProcessStart(TIME, 111, 222, 7608, **known(version))


def test_a_sid_behind_a_token_user_of_zeroes_is_read(decoded):
    payload = u64(KEY) + u32(7608) + u32(972) + u32(1) + u32(0) + bytes(16) + LOCAL_SYSTEM
    event = decoded(PROCESS, 1, 2, payload + ansi("cmd.exe") + utf16("cmd.exe /c ver"))
    assert event == ProcessStart(TIME, 111, 222, 7608, **known(2))


def test_an_image_name_beyond_ascii_is_told_byte_for_byte(decoded):
    """The trace does not name the recording machine's code page."""
    payload = u64(KEY) + u32(7608) + u32(972) + u32(1) + u32(0) + u32(0) + b"caf\xe9.exe\0"
    assert decoded(PROCESS, 1, 1, payload).image == "caf\\xe9.exe"


def test_ids_of_a_pointers_size_have_32_bits_all_the_same(decoded):
    payload = u64(1 << 63 | 7608) + u64(1 << 32 | 972) + u32(0) + ansi("cmd.exe")
    event = decoded(PROCESS, 1, 0, payload)
    assert (event.pid, event.parent_pid) == (7608, 972)


# -- threads


def stacks(size, *rest):
    return b"".join(pointer(size, address) for address in (0xF001, 0xF002, 0xF003, 0xF004, *rest))


def thread_fields(version, size, name=None):
    """Thread 8084 of process 7608, started at 0x77001000 where the version tells it."""
    if version == 0:
        return u32(8084) + u32(7608)
    payload = u32(7608) + u32(8084)
    if version == 1:
        return payload + stacks(size, 0xF005, 0x77001000) + u8(0xFF)
    payload += stacks(size, 0xF005, 0x77001000, 0xF006) + u32(0x7A6)
    payload += u8(8) + u8(5) + u8(2) + u8(0) if version == 3 else b""
    return payload + (b"" if name is None else utf16(name))


@pytest.fixture(
    params=[
        (0, 4, None, 8),
        (0, 8, None, 8),
        (1, 4, None, 33),
        (1, 8, None, 57),
        (2, 4, None, 40),
        (2, 8, None, 68),
        (3, 4, None, 44),
        (3, 8, None, 72),
        (3, 4, "", 46),
        (3, 8, "", 74),
        (3, 8, "worker", 86),
    ],
    ids=str,
)
def thread_form(request):
    """A version, a pointer size, and the payload of that form, whose length the format gives."""
    version, pointer_size, name, length = request.param
    payload = thread_fields(version, pointer_size, name)
    assert len(payload) == length
    return version, payload, pointer_size


def test_a_thread_start_of_every_version_tells_the_new_thread_and_its_creator(decoded, thread_form):
    address = 0x77001000 if thread_form[0] else None
    assert decoded(THREAD, 1, *thread_form) == ThreadStart(TIME, 111, 222, 7608, 8084, address)


@pytest.mark.parametrize("opcode", [3, 4], ids=["DCStart", "DCEnd"])
def test_a_thread_rundown_of_every_version_tells_the_thread_and_no_creation(decoded, opcode, thread_form):
    address = 0x77001000 if thread_form[0] else None
    assert decoded(THREAD, opcode, *thread_form) == ThreadRundown(TIME, 7608, 8084, address)


def test_a_thread_end_of_every_version_tells_its_thread(decoded, thread_form):
    assert decoded(THREAD, 2, *thread_form) == ThreadStop(TIME, 7608, 8084)


def test_a_thread_end_of_version_1_has_the_ids_only(decoded):
    assert decoded(THREAD, 2, 1, u32(7608) + u32(8084)) == ThreadStop(TIME, 7608, 8084)


def test_the_affinity_of_a_version_3_thread_is_not_its_start_address(decoded):
    payload = u32(7608) + u32(8084) + u64(1) * 4 + u64(0xFF) + u64(0x77001000) + u64(2) + u32(0) + u32(0)
    assert decoded(THREAD, 1, 3, payload).start_address == 0x77001000


# -- images

NAME = "\\Windows\\System32\\ntdll.dll"


def image_fields(version, size):
    payload = pointer(size, 0x7FF0_0000)
    if version == 0:
        return payload + u32(0x1B8000) + utf16(NAME)
    payload += pointer(size, 0x1B8000) + u32(7608)
    if version == 1:
        return payload + utf16(NAME)
    payload += u32(0xC5) + u32(0x5EED)
    payload += u32(0) if version == 2 else u8(12) + u8(1) + u16(0)  # signature level and type
    return payload + pointer(size, 0x1_0000) + u32(0) * 4 + utf16(NAME)


IMAGES = pytest.mark.parametrize("version", range(4))


@SIZES
@IMAGES
@pytest.mark.parametrize(("opcode", "rundown"), [(10, False), (3, True), (4, True)])
def test_an_image_load_or_rundown_of_every_version_tells_all_it_knows(
    decoded, opcode, rundown, version, pointer_size
):
    event = decoded(IMAGE, opcode, version, image_fields(version, pointer_size), pointer_size)
    pid = 7608 if version else 111  # the first version leaves the process to the header
    details = (0xC5, 0x5EED) if version >= 2 else (None, None)
    assert event == ImageLoad(TIME, pid, 0x7FF0_0000, 0x1B8000, *details, NAME, rundown)


@SIZES
@IMAGES
def test_an_image_unload_of_every_version_tells_where_it_lay(decoded, version, pointer_size):
    event = decoded(IMAGE, 2, version, image_fields(version, pointer_size), pointer_size)
    assert event == ImageUnload(TIME, 7608 if version else 111, 0x7FF0_0000, 0x1B8000, NAME)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_image_that_is_put_aside_has_the_pointer_size_of_its_payload(version):
    """As of a process: a 32-bit program can log a 64-bit kernel's layout. In V0 nothing tells them apart."""
    aside = []
    decoder = Decoder(lambda *_: None, aside=aside.append)
    for size in (8, 4):
        decoder.decode(RawEvent(IMAGE, 0, version, 2, TIME, 111, 222, 4, image_fields(version, size)))
    assert [raw.pointer_size for raw in aside] == [8, 4]


# -- the machine


@SIZES
@pytest.mark.parametrize("version", range(4))
def test_the_machine_tells_its_name_among_its_processors(decoded, version, pointer_size):
    """The name stands in 512 bytes; of what is behind it nothing is read."""
    name = utf16("HOST1").ljust(512, b"\0")
    payload = u32(2195) + u32(28) + u32(0x17E00) + u32(4096) + u32(65536) + name
    payload += utf16("corp.example").ljust(268, b"\0")
    assert decoded(SYSTEM_CONFIG, 10, version, payload, pointer_size) == MachineName(TIME, "HOST1")


@SIZES
def test_a_volume_tells_its_drive_letter(decoded, pointer_size):
    payload = utf16("\\Device\\HarddiskVolume2\\") + utf16("C:\\")
    expected = VolumeMapping(TIME, "\\Device\\HarddiskVolume2\\", "C:\\")
    assert decoded(SYSTEM_CONFIG_EX, 35, 0, payload, pointer_size) == expected
