"""Functions out of PDBs: those of the image's own PDB, and a reason for every other."""

import shutil
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from purepdb import MsfFile

from etwdetect.enrich import symbols
from etwdetect.enrich.exports import BrokenImageError, read_build, read_debug_id, read_exports
from etwdetect.enrich.imagefiles import ImageFiles
from etwdetect.enrich.modules import Module
from etwdetect.enrich.symbols import BrokenSymbolsError, SymbolFiles, read_functions
from tests.enrich.pdb_by_clang import link
from tests.enrich.pe_by_hand import export_directory, image


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A DLL and its PDB."""
    return link(tmp_path_factory.mktemp("pdb"))


def functions(pair):
    return read_functions(pair[1], read_debug_id(pair[0]))


def test_a_pdb_has_the_functions_that_the_image_exports_and_all_others(pair):
    named = functions(pair)
    assert sorted(named.values()) == ["entry", "exported", "hidden", "shown"]
    (exported,) = read_exports(pair[0])
    assert named[exported] == "exported"


@pytest.mark.parametrize("place", ["a.pdb", "A.PDB", "a.pdb/{key}/a.pdb", "A.pdb/{key}/A.PDB"])
def test_the_folder_has_pdbs_side_by_side_or_is_a_symbol_store(pair, tmp_path, place):
    wanted = read_debug_id(pair[0])
    guid = wanted.guid[3::-1] + wanted.guid[5:3:-1] + wanted.guid[7:5:-1] + wanted.guid[8:]
    path = tmp_path / place.format(key=f"{guid.hex().upper()}{wanted.age:X}")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(pair[1], path)
    files = SymbolFiles(tmp_path)
    assert files.of_image(pair[0]) == functions(pair)
    assert (files.asked, files.found, files.refused) == (True, True, {})


def test_an_image_without_a_pdb_in_the_folder_has_no_more_functions(pair, tmp_path):
    files = SymbolFiles(tmp_path)
    assert files.of_image(pair[0]) == {}
    assert (files.asked, files.found, files.refused) == (True, False, {})


@pytest.mark.parametrize("change", [{"guid": bytes(16)}, {"age": 9}])
def test_a_pdb_of_another_build_is_refused(pair, change):
    with pytest.raises(BrokenSymbolsError, match="is of another build of the image"):
        read_functions(pair[1], read_debug_id(pair[0])._replace(**change))


def test_a_file_that_is_refused_is_named_with_the_reason(pair, tmp_path):
    (tmp_path / "a.pdb").write_bytes(b"MZ".ljust(99, b"\0"))
    files = SymbolFiles(tmp_path)
    assert files.of_image(pair[0]) == {}
    ((path, why),) = files.refused.items()
    assert path == str(tmp_path / "a.pdb")
    assert why == "the PDB cannot be used: it is damaged: not an MSF 7.00 file (bad magic)"


def test_the_functions_of_a_32_bit_image_have_the_names_of_their_source(tmp_path):
    named = functions(link(tmp_path, machine="i686"))
    assert {"entry", "exported", "shown"} <= set(named.values())


@pytest.mark.parametrize(
    ("decorated", "plain"),
    [
        ("_NtClose@4", "NtClose"),
        ("@fast@8", "fast"),
        ("_main", "main"),
        ("?f@@YAXXZ", "?f@@YAXXZ"),
        ("plain", "plain"),
    ],
)
def test_the_decoration_of_a_calling_convention_is_taken_off(decorated, plain):
    assert symbols._plain(decorated) == plain


def test_frames_are_named_by_the_pdb_and_thread_starts_by_exports_alone(pair):
    dll, _ = pair
    build = read_build(dll)
    module = Module(0, build.size, "C:\\a.dll", build.checksum, build.stamp, 0)
    offsets = {name: offset for offset, name in functions(pair).items()}
    files = ImageFiles(dll.parent, SymbolFiles(dll.parent))
    hidden = offsets["hidden"]
    assert files.function_below("C:\\a.dll", module, hidden + 3) == ("hidden", hidden)
    assert files.function_at("C:\\a.dll", module, hidden)[0] is None
    assert files.function_at("C:\\a.dll", module, offsets["exported"]) == ("exported", None)
    assert ImageFiles(dll.parent).function_below("C:\\a.dll", module, hidden + 3)[0] == "exported"


def test_no_path_leads_out_of_the_folder(pair, tmp_path):
    dll = tmp_path / "b.dll"
    data = pair[0].read_bytes()
    name = read_debug_id(pair[0]).name.encode()
    shutil.copy(pair[1], tmp_path / "a.pdb")
    (tmp_path / "in").mkdir()
    dll.write_bytes(data.replace(name, b"../a.pdb".ljust(len(name), b"\0")))
    assert read_debug_id(dll).name == "../a.pdb"
    assert SymbolFiles(tmp_path / "in").of_image(dll) == {}


# -- hostile files


@pytest.mark.parametrize(
    ("bound", "value", "why"),
    [
        ("MOST_BYTES", 1 << 10, "it is larger than 0 MiB"),
        ("MOST_FUNCTIONS", 3, "it has more than 3 functions"),
        ("_MOST_DIRECTORY", 10, "its directory is too large"),
        ("_MOST_DBI", 10, "it has too many modules"),
        ("_MOST_SECTIONS", 10, "its table of sections is too large"),
    ],
)
def test_what_goes_beyond_a_bound_is_refused(pair, monkeypatch, bound, value, why):
    monkeypatch.setattr(symbols, bound, value)
    with pytest.raises(BrokenSymbolsError, match=why):
        functions(pair)


def test_modules_that_share_their_symbols_are_refused(pair, tmp_path):
    data = bytearray(pair[1].read_bytes())
    msf = MsfFile(bytes(data))
    modules = msf.stream_blocks[3][0] * msf.super.block_size + 64  # behind the header of the DBI stream
    # A ModuleInfo of 64 bytes has the number of its stream, u16, at 34; behind it is its name.
    for at in (modules, data.index(b"* Linker *\0", modules) - 64):
        data[at + 34 : at + 36] = data[modules + 34 : modules + 36]
    (tmp_path / "a.pdb").write_bytes(data)
    with pytest.raises(BrokenSymbolsError, match="modules share their symbols"):
        read_functions(tmp_path / "a.pdb", read_debug_id(pair[0]))


@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4)), max_size=8), st.floats(0, 1))
@example([], 1)
def test_a_damaged_pdb_gives_functions_or_a_reason(pair, spoiled, kept):
    data = bytearray(pair[1].read_bytes())
    for place, instead in spoiled:
        at = int(place * len(data))
        data[at : at + len(instead)] = instead
    path = pair[1].with_name("damaged.pdb")
    path.write_bytes(data[: int(kept * len(data))] if kept > 0.5 else data)
    with suppress(BrokenSymbolsError):
        assert all(type(offset) is int for offset in read_functions(path, read_debug_id(pair[0])))


def test_an_image_that_has_no_debug_directory_names_no_pdb(tmp_path):
    path = tmp_path / "a.dll"
    path.write_bytes(image(export_directory([0x2010], [("Alpha", 0)])))
    assert read_debug_id(path) is None
    assert SymbolFiles(tmp_path).of_image(path) == {}


@given(st.binary(max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_damaged_debug_directory_names_no_pdb_or_is_an_error(tmp_path_factory, entry, address, size):
    data = bytearray(image(entry))
    at = 64 + 24 + 112 + 6 * 8  # behind the headers of the file and the image: entry 6 of the data directory
    data[at : at + 8] = address.to_bytes(4, "little") + size.to_bytes(4, "little")
    path = tmp_path_factory.getbasetemp() / "debug.dll"
    path.write_bytes(data)
    with suppress(BrokenImageError):
        wanted = read_debug_id(path)
        assert wanted is None or len(wanted.guid) == 16
