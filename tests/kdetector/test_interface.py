"""The client's layouts and numbers against the driver's own header, and records as bytes."""

import re
import struct
from pathlib import Path

import pytest

from etwdetect.core.rule import DEFAULT_BOUND, RemoteThread
from etwdetect.kdetector import interface
from etwdetect.kdetector.errors import WrongVersionError

HEADER = (Path(__file__).resolve().parents[2] / "driver" / "KDetector" / "KDetectorPublic.h").read_text(
    encoding="utf-8"
)

FORMAT_CODES = {"INT64": "q", "UINT32": "I", "UINT64": "Q"}


def fields(name):
    """Return the members of the header's struct *name* as (type, name) pairs."""
    body = re.search(rf"struct {name} {{(.*?)}};", HEADER, re.DOTALL)[1]
    return re.findall(r"^\s+(\w+) (\w+);", body, re.MULTILINE)


def number(name):
    value = re.search(rf"\b{name}(?: =)? ([^;\n]+);?$", HEADER, re.MULTILINE)[1]
    return int(value.rstrip("uU").replace("'", ""), 0)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("KD_REMOTE_THREAD", interface.RECORD),
        ("KD_VERSION", interface.VERSION),
        ("KD_STATISTICS", interface.STATISTICS),
    ],
)
def test_layouts_are_the_headers(name, layout):
    written = "<" + "".join(FORMAT_CODES[kind] for kind, _ in fields(name))
    assert struct.calcsize(written) == layout.size
    zeros = bytes(layout.size)
    assert struct.unpack(written, zeros) == layout.unpack(zeros)


def test_statistics_have_the_headers_names_in_its_order():
    snake = [re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for _, name in fields("KD_STATISTICS")]
    assert snake == list(interface.Statistics._fields)


def test_numbers_are_the_headers():
    assert number("KD_INTERFACE_VERSION") == interface.INTERFACE_VERSION
    assert number("KD_MOST_BOUND") == interface.MOST_BOUND
    assert number("KD_DEFAULT_TABLE_BOUND") == DEFAULT_BOUND
    assert number("KD_DEVICE_TYPE") == 0x8000


def test_names_are_the_headers():
    assert f'KD_USER_PATH L"{interface.DEVICE_PATH}"'.replace("\\", "\\\\") in HEADER
    assert f'KD_TABLE_BOUND_VALUE L"{interface.TABLE_BOUND_VALUE}"' in HEADER
    assert f'KD_QUEUE_BOUND_VALUE L"{interface.QUEUE_BOUND_VALUE}"' in HEADER


def test_control_codes():
    assert (interface.IOCTL_VERSION, interface.IOCTL_STATISTICS) == (0x80002000, 0x80002004)


def test_records_from_their_bytes():
    first = bytes.fromhex("0100000000000000 02000000 03000000 04000000 05000000")
    second = bytes.fromhex("80d5ad01c0a8d901 e01c0000 b4120000 90200000 a8240000")
    assert interface.parse_records(first + second) == [
        RemoteThread(1, 2, 3, 4, 5),
        RemoteThread(0x01D9A8C001ADD580, 7392, 4788, 8336, 9384),
    ]
    assert interface.parse_records(b"") == []


@pytest.mark.parametrize("size", [1, 23, 25])
def test_half_records_are_refused(size):
    with pytest.raises(struct.error):
        interface.parse_records(bytes(size))


def test_statistics_from_their_bytes():
    assert interface.parse_statistics(struct.pack("<13Q", *range(13))) == interface.Statistics(*range(13))
    with pytest.raises(struct.error):
        interface.parse_statistics(bytes(72))


def test_a_wrong_version_says_which():
    message = str(WrongVersionError(2, 32))
    assert "version 2 with records of 32 bytes" in message
