"""The functions that an image file exports, and files that are none."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich import exports
from etwdetect.enrich.exports import BrokenImageError, Build, read_build, read_exports
from tests.enrich.pe_by_hand import CHECKSUM, RAW_AT, SIZE, STAMP, export_directory, image


@pytest.fixture
def exported(tmp_path):
    def read(data):
        path = tmp_path / "a.dll"
        path.write_bytes(data)
        return read_exports(path)

    return read


@pytest.fixture
def build(tmp_path):
    def read(data):
        path = tmp_path / "a.dll"
        path.write_bytes(data)
        return read_build(path)

    return read


@pytest.mark.parametrize("bits", [32, 64])
def test_the_build_of_a_file_is_in_its_headers(build, bits):
    assert build(image(bits=bits)) == Build(STAMP, SIZE, CHECKSUM)
    assert build(image(bits=bits, checksum=0)) == Build(STAMP, SIZE, None)


@pytest.mark.parametrize("bits", [32, 64])
def test_functions_are_found_by_their_offset(exported, bits):
    directory = export_directory([0x2010, 0x2020], [("Alpha", 1), ("Beta", 0)])
    assert exported(image(directory, bits=bits)) == {0x2010: "Beta", 0x2020: "Alpha"}


def test_a_forwarder_is_no_function_of_the_file(exported):
    directory = export_directory([0x2010, "OTHER.Beta"], [("Alpha", 0), ("Beta", 1)])
    assert exported(image(directory)) == {0x2010: "Alpha"}


def test_a_function_without_a_name_is_called_by_its_ordinal(exported):
    directory = export_directory([0x2010, 0x2020], [("Alpha", 1)], ordinal_base=7)
    assert exported(image(directory)) == {0x2010: "#7", 0x2020: "Alpha"}


def test_of_several_names_for_a_function_the_first_in_the_alphabet_counts(exported):
    directory = export_directory([0x2010, 0x2010, 0x2010], [("NtClose", 0), ("ZwClose", 1)])
    assert exported(image(directory)) == {0x2010: "NtClose"}


def test_a_file_without_an_export_table_exports_nothing(exported):
    assert exported(image()) == {}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no PE image"),
        (b"MZ", "it is no PE image"),
        (b"\x7fELF" + bytes(500), "it is no PE image"),
        (image()[:0x90], "it is no PE image"),
        (image(sections=97), "it has 97 sections"),
        (
            image(export_directory([0x2010], counts=(70_000, 1))),
            "its export table claims 70000 functions and 1 names",
        ),
        (image(export_directory([0x2010], counts=(1, 1 << 31))), "names"),
        (image(export_directory([0x2010]), exports_at=0x7FFF_FFFF), "export table"),
    ],
)
def test_a_broken_file_says_why_it_is(exported, data, why):
    with pytest.raises(BrokenImageError, match=why):
        exported(data)


def test_a_file_that_is_too_large_is_not_read_whole(exported, monkeypatch):
    monkeypatch.setattr(exports, "MOST_BYTES", 1000)
    with pytest.raises(BrokenImageError, match="larger than"):
        exported(image(export_directory([0x2010])).ljust(2000, b"\0"))


def test_a_file_that_is_not_there_is_an_os_error(tmp_path):
    for read in read_build, read_exports:
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a.dll")


WHOLE = image(export_directory([0x2010, 0x2020, "OTHER.Beta"], [("Alpha", 0), ("Beta", 2), ("Gamma", 1)]))


@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=12),
    st.integers(0, len(WHOLE)),
)
def test_any_damage_is_a_broken_image_or_none(tmp_path_factory, changes, length):
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged.dll"
    path.write_bytes(data[: length or None])
    with pytest.MonkeyPatch.context() as patched:
        # pefile collects garbage for each file that it refuses, which with all of pytest in memory takes long.
        patched.setattr("gc.collect", lambda: 0)
        for read in read_build, read_exports:
            with contextlib.suppress(BrokenImageError):
                assert read(path) is not None


def test_the_largest_table_that_is_read_comes_to_an_end(exported):
    """65,536 functions, and names that are all nothing."""
    count = 65_536
    directory = bytearray(export_directory([0x2010] * count, [], counts=(count, count)))
    names_at = 0x1000 + 40
    struct.pack_into("<II", directory, 32, names_at, names_at)
    with contextlib.suppress(BrokenImageError):
        exported(image(bytes(directory), size=1 << 20))


# -- builds


@pytest.mark.parametrize(
    ("told", "found", "difference"),
    [
        (Build(1, 0x1000, 2), Build(1, 0x1000, 2), None),
        (Build(1, 0x1000, None), Build(1, 0x1000, 2), None),
        (Build(1, 0x1000, 2), Build(1, 0x1000, None), None),
        (Build(1, 0x1000, 2), Build(1, 0xFFF, 2), None),  # mapped sizes are whole pages
        (Build(0, 0x1000, 2), Build(1, 0x1000, 2), None),
        (Build(1, 0x1000, 2), Build(1, 0x2000, 2), "its size is 0x2000, not 0x1000"),
        (Build(1, 0x1000, 2), Build(3, 0x1000, 2), "its time stamp is 0x3, not 0x1"),
        (Build(1, 0x1000, 2), Build(1, 0x1000, 3), "its checksum is 0x3, not 0x2"),
        (Build(None, 0x1000, 2), Build(1, 0x1000, None), "it has no checksum to compare"),
    ],
)
def test_a_build_is_the_same_in_all_that_is_told(told, found, difference):
    assert told.difference(found) == difference


def test_a_build_of_which_only_the_size_is_known_is_not_known():
    assert not Build(None, 0x1000, None).is_known()
    assert not Build(0, 0x1000, 0).is_known()
    assert RAW_AT < SIZE
