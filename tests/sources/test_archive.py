"""What is packed is unpacked whole, or as far as it goes, in bounded memory and time."""

import bz2
import gzip
import io
import lzma
import random
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.errors import NotATraceError
from etwdetect.sources import unpacking
from etwdetect.sources.archive import members
from etwdetect.sources.packed import Place, archive_kind, is_tar_header, refusal
from etwdetect.sources.unpacking import Allowance

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def zst(data):
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zst}
each_packing = pytest.mark.parametrize("kind", PACKERS)


def opened(place):
    with ExitStack() as stack:
        file, fault = place.open(stack)
        return file.read(), fault


@pytest.fixture
def packed(tmp_path):
    """Write bytes to a file; return what opening it gives: the bytes, and the fault."""

    def write(data):
        path = tmp_path / "packed"
        path.write_bytes(data)
        return opened(Place(path, "packed"))

    return write


@each_packing
def test_what_was_packed_comes_out(packed, kind):
    data = random.Random(1).randbytes(300_000) + bytes(3_000_000)
    assert packed(PACKERS[kind](data)) == (data, None)


@each_packing
@given(parts=st.lists(st.binary(max_size=50), min_size=1, max_size=5), padding=st.integers(0, 9))
def test_streams_one_behind_the_other_and_zeros_behind_them_are_one_file(tmp_path_factory, kind, parts, padding):
    path = tmp_path_factory.mktemp("packed") / "a"
    path.write_bytes(b"".join(map(PACKERS[kind], parts)) + bytes(padding))
    assert opened(Place(path, "a")) == (b"".join(parts), None)


@each_packing
@given(data=st.data())
def test_a_packed_file_that_is_cut_or_changed_gives_what_came_before_and_says_so(tmp_path_factory, kind, data):
    whole = random.Random(2).randbytes(2_000)
    bad = bytearray(PACKERS[kind](whole))
    at = data.draw(st.integers(8, len(bad) - 1))
    if data.draw(st.booleans()):
        del bad[at:]
    else:
        bad[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("packed") / "a"
    path.write_bytes(bad)
    try:
        read, fault = opened(Place(path, "a"))
    except NotATraceError as error:
        assert str(error).startswith("a: cannot be unpacked: ")  # noqa: PT017 (either may be)
    else:
        if fault is None:  # a bit that no decoder looks at: of the header of .gz or .zst, say
            assert read == whole
        else:
            assert "cannot be unpacked any further: " in fault


@each_packing
def test_a_bomb_is_unpacked_to_the_limit_and_no_further(packed, kind, monkeypatch):
    monkeypatch.setattr(unpacking, "_MIN_LIMIT", 1 << 20)
    monkeypatch.setattr(unpacking, "_MOST_EXPANSION", 2)
    data = PACKERS[kind](bytes(64 << 20))
    tracemalloc.start()
    read, fault = packed(data)
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()
    assert len(read) <= 1 << 20
    assert fault == "unpacks to more than 1,048,576 bytes, which no trace does: the rest is not read"


def test_an_xz_whose_dictionary_would_fill_the_memory_is_refused(packed):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(b"abc" * 100, filters=filters))
    size = data.index(bytes((lzma.FILTER_LZMA2, 1, 16)))  # the filter, the size of its properties, 1 MiB
    data[size + 2] = 37  # 3 GiB
    header = data[12 : 12 + (data[12] + 1) * 4]
    data[12 + len(header) - 4 : 12 + len(header)] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    with pytest.raises(NotATraceError, match="cannot be unpacked: Memory usage limit"):
        packed(bytes(data))


def zipped(*named, method=zipfile.ZIP_DEFLATED):
    """A .zip with members (name, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in named:
            made.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def tarred(*named, form=tarfile.PAX_FORMAT):
    """A .tar with members (name, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, content in named:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return file.getvalue()


def contents(tmp_path, data, kind):
    """What the members of an archive hold, in its order."""
    path = tmp_path / "archive"
    path.write_bytes(data)
    listed, fault = members(io.BytesIO(data), kind)
    assert fault is None
    return [(each.name, opened(Place(path, each.name, member=each))) for each in listed]


NAMED = [("a.etl", b"first" * 1000), ("b/" + "c" * 300 + "/ä.etl", b"second"), ("empty", b""), ("a.etl", b"third")]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_member_of_a_zip_is_read_also_those_of_one_name(tmp_path, method):
    data = zipped(*NAMED, method=method)
    assert archive_kind(data) == "zip"
    assert contents(tmp_path, data, "zip") == [(name, (content, None)) for name, content in NAMED]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_every_member_of_a_tar_is_read_also_those_of_one_name(tmp_path, form):
    data = tarred(*NAMED, form=form)
    assert archive_kind(data) == "tar"
    assert contents(tmp_path, data, "tar") == [(name, (content, None)) for name, content in NAMED]


def test_a_ustar_name_in_two_parts_is_put_together(tmp_path):
    name = "d" * 90 + "/" + "n" * 80
    data = tarred((name, b"x"), form=tarfile.USTAR_FORMAT)
    assert contents(tmp_path, data, "tar") == [(name, (b"x", None))]


def test_a_member_packed_once_more_is_unpacked_too(tmp_path):
    for packer in PACKERS.values():
        data = zipped(("a.gz", packer(b"inside")))
        assert contents(tmp_path, data, "zip") == [("a.gz", (b"inside", None))]


@pytest.mark.parametrize(
    ("method", "name"), [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (250, "method 250")]
)
def test_a_member_that_zip_packs_in_another_way_is_named_with_the_way(method, name):
    data = bytearray(zipped(("a.etl", b"x")))
    data[data.index(b"PK\1\2") + 10] = method
    ((member,), _) = members(io.BytesIO(data), "zip")
    assert member.fault == f"is packed with {name}, and only stored and deflated members are read: unpack it first"


def test_an_encrypted_member_is_told():
    data = bytearray(zipped(("a.etl", b"x")))
    data[data.index(b"PK\1\2") + 8] |= 1
    ((member,), _) = members(io.BytesIO(data), "zip")
    assert member.fault == "is encrypted: unpack it first"


def test_members_that_share_bytes_are_read_once():
    data = bytearray(zipped(("a.etl", b"x"), ("b.etl", b"y")))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = bytes(4)  # where its local header is
    (first, other), _ = members(io.BytesIO(data), "zip")
    assert (first.fault, other.fault) == ("", "shares bytes with another member")


def test_a_member_with_a_wrong_checksum_is_read_and_told(tmp_path):
    data = zipped(("a.etl", b"x" * 100), method=zipfile.ZIP_STORED).replace(b"x" * 100, b"x" * 99 + b"y")
    ((_, (read, fault)),) = contents(tmp_path, data, "zip")
    assert (read, fault) == (b"x" * 99 + b"y", "cannot be unpacked any further: its checksum is wrong")


def test_a_name_that_is_not_valid_text_is_told():
    data = zipped(("ä.etl", b"x")).replace("ä".encode(), b"\xff\xff")
    assert members(io.BytesIO(data), "zip") == (
        [],
        "has a member whose name is not valid UTF-8: unpack it first",
    )


def test_in_a_tar_a_name_that_is_not_valid_text_keeps_its_bytes(tmp_path):
    data = tarred(("\udcff.etl", b"x"), form=tarfile.GNU_FORMAT)
    assert contents(tmp_path, data, "tar") == [("\udcff.etl", (b"x", None))]


def test_a_tar_cut_anywhere_gives_the_members_before_and_says_so():
    data = tarred(("a", b"1" * 700), ("b", b"2"))
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for cut in range(0, end, 100):
        listed, fault = members(io.BytesIO(data[:cut]), "tar")
        assert fault == "is a .tar that cannot be read: it is cut short"
        assert [each.name for each in listed] == ["a", "b"][: (cut >= 512) + (cut >= 512 + 1024 + 512)]


@given(at=st.integers(0, 511), bit=st.integers(0, 7))
def test_a_tar_with_a_damaged_header_says_so(at, bit):
    data = bytearray(tarred(("a", b"1"), ("b", b"2")))
    data[1024 + at] ^= 1 << bit
    listed, fault = members(io.BytesIO(data), "tar")
    if fault is None:  # blanks and zeros around the checksum, or its leading digit, say nothing
        assert 148 <= at < 156
    else:
        assert [each.name for each in listed] == ["a"]
        assert fault == "is a .tar that cannot be read: the header at offset 0x400 is damaged"


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"9" * 12, b"x" * 12])
def test_a_size_that_makes_no_sense_ends_the_reading_of_a_tar(size):
    block = bytearray(tarred(("a", b"1"))[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert is_tar_header(bytes(block))
    listed, fault = members(io.BytesIO(bytes(block) + bytes(2048)), "tar")
    assert fault.startswith("is a .tar that cannot be read: ")
    assert len(listed) <= 1


def test_links_and_files_with_holes_in_a_tar_are_told():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(kind.decode())
            info.type = kind
            info.linkname = "there"
            made.addfile(info)
    listed, fault = members(io.BytesIO(file.getvalue()), "tar")
    assert fault is None
    assert [(each.name, each.fault) for each in listed] == [
        ("2", "is a link in the archive, which is not followed"),
        ("1", "is a link in the archive, which is not followed"),
        ("S", "is stored with its holes left out (sparse): unpack it first"),
    ]


@given(st.binary(max_size=2000))
def test_no_bytes_make_the_listing_of_an_archive_fail(data):
    for kind in ("zip", "tar"):
        members(io.BytesIO(data), kind)


@given(data=st.data())
def test_no_change_of_an_archive_makes_listing_or_reading_fail(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["zip", "tar"]))
    changed = bytearray((zipped if kind == "zip" else tarred)(*NAMED[:3]))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("archive") / "a"
    path.write_bytes(changed)
    listed, _ = members(io.BytesIO(changed), kind)
    for member in listed:
        try:
            opened(Place(path, member.name, member=member))
        except NotATraceError as error:
            assert str(error).startswith(f"{member.name}: ")  # noqa: PT017 (either may be)


def test_all_members_together_unpack_to_the_limit_and_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_MIN_LIMIT_OF_ALL", 5 << 20)
    monkeypatch.setattr(unpacking, "_MOST_EXPANSION", 1)
    data = zipped(*((f"{number}.etl", bytes(3 << 20)) for number in range(3)))
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    allowance = Allowance(len(data))
    listed, _ = members(io.BytesIO(data), "zip")
    read = [opened(Place(path, each.name, member=each, allowance=allowance)) for each in listed]
    assert [fault for _, fault in read] == [
        None,
        "its archive unpacks to more than 2,097,152 bytes, which no trace does: the rest is not read",
        "its archive unpacks to more than 0 bytes, which no trace does: the rest is not read",
    ]


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"Rar!\x1a\x07\1\0", "a RAR archive"),
        (b"MSCF\0\0", "a cabinet (.cab)"),
        (b"\x04\x22\x4d\x18", "packed with LZ4"),
        (b"PML_\x09\0", "a log of Process Monitor (.pml)"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(head, what):
    assert refusal(head).startswith(f"is {what}")
    assert "which is not read: " in refusal(head)


def test_a_trace_is_taken_for_no_archive():
    head = (Path(__file__).parents[2] / "samples" / "quiet.etl").read_bytes()[:65_536]
    assert (archive_kind(head), refusal(head)) == (None, None)


def test_a_member_of_a_zip_without_a_name_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", b"nameless")
        archive.writestr("b.etl", b"trace")
    data = (tmp_path / "a.zip").read_bytes()
    central = data.index(b"PK\1\2")
    nameless = data[:central] + data[central:].replace(b"x", b"", 1)
    at = central + 28  # the length of the name in the central directory
    nameless = bytearray(nameless)
    nameless[at : at + 2] = b"\0\0"
    size = nameless.rindex(b"PK\5\6") + 12
    nameless[size : size + 4] = (int.from_bytes(nameless[size : size + 4], "little") - 1).to_bytes(4, "little")
    listed, fault = members(io.BytesIO(bytes(nameless)), "zip")
    assert ([each.name for each in listed], fault) == (["", "b.etl"], None)
