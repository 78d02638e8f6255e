"""Which file is a module's: by its name, in a copy of a Windows folder, and by its build."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from etwdetect.enrich import imagefiles
from etwdetect.enrich.absent import NO_EXPORT
from etwdetect.enrich.imagefiles import ImageFiles
from etwdetect.enrich.modules import Module
from tests.enrich.pe_by_hand import CHECKSUM, SIZE, STAMP, export_directory, image

PATH = "C:\\Windows\\System32\\a.dll"
WINE = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")


def module(path=PATH, stamp=STAMP, size=SIZE, checksum=CHECKSUM):
    return Module(0x10000, size, path, checksum, stamp, 1)


def dll(name="Alpha", **options):
    return image(export_directory([0x2010], [(name, 0)]), **options)


def put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def function(folder, path=PATH, offset=0x2010, **options):
    return ImageFiles(folder).function_at(path, module(path, **options), offset)


def test_a_function_is_found_at_exactly_its_offset(tmp_path):
    put(tmp_path, "a.dll", dll())
    assert function(tmp_path) == ("Alpha", None)
    assert function(tmp_path, offset=0x2011) == (None, NO_EXPORT)


def test_the_function_below_an_offset_is_the_nearest_one(tmp_path):
    table = export_directory([0x2010, 0x2050], [("Alpha", 0), ("Beta", 1)])
    put(tmp_path, "a.dll", image(table))
    files = ImageFiles(tmp_path)
    below = [files.function_below(PATH, module(), offset) for offset in (0x200F, 0x2010, 0x204F, 0x9000)]
    assert below == [None, ("Alpha", 0x2010), ("Alpha", 0x2010), ("Beta", 0x2050)]
    assert files.function_below("C:\\b.dll", module("C:\\b.dll"), 0x2010) is None


@pytest.mark.parametrize("place", ["a.dll", "A.DLL", "System32/a.dll", "windows/SYSTEM32/A.dll"])
def test_the_folder_is_that_of_the_files_or_of_windows_or_around_it_in_any_case(tmp_path, place):
    put(tmp_path, place, dll())
    assert function(tmp_path) == ("Alpha", None)


def test_the_32_bit_files_are_found_beside_system32(tmp_path):
    put(tmp_path, "System32/a.dll", dll("Of64"))
    put(tmp_path, "SysWOW64/a.dll", dll("Of32", bits=32, stamp=7))
    path = "\\Device\\HarddiskVolume2\\Windows\\SysWOW64\\a.dll"
    for folder in tmp_path, tmp_path / "System32":
        assert function(folder, path, stamp=7) == ("Of32", None)
        assert function(folder) == ("Of64", None)


def test_of_two_files_of_the_name_the_one_of_the_right_build_is_taken(tmp_path):
    put(tmp_path, "System32/a.dll", dll("Wrong", stamp=7))
    put(tmp_path, "a.dll", dll())
    assert function(tmp_path) == ("Alpha", None)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        ({"stamp": 7}, f"the file is of another build: its time stamp is 0x7, not {STAMP:#x}"),
        ({"size": 0x9000}, f"the file is of another build: its size is 0x9000, not {SIZE:#x}"),
        ({"checksum": 9}, f"the file is of another build: its checksum is 0x9, not {CHECKSUM:#x}"),
    ],
)
def test_a_file_of_another_build_is_refused(tmp_path, build, why):
    put(tmp_path, "a.dll", dll(**build))
    assert function(tmp_path) == (None, why)


def test_what_cannot_be_used_says_why(tmp_path):
    assert function(tmp_path) == (None, "no file")
    assert function(tmp_path, stamp=0, checksum=0) == (None, "which build the image is, is not told")
    put(tmp_path, "a.dll", b"MZ")
    assert function(tmp_path) == (None, "the file cannot be used: it is no PE image")


def test_files_that_are_refused_and_that_none_is_there_can_be_told(tmp_path):
    files = ImageFiles(tmp_path)
    assert (files.asked, files.found, files.refused) == (False, False, {})
    files.function_at(PATH, module(), 0x2010)
    assert (files.asked, files.found, files.refused) == (True, False, {})
    put(tmp_path, "b.dll", dll(stamp=7))
    put(tmp_path, "c.dll", dll())
    files = ImageFiles(tmp_path)
    for name in ("b", "c"):
        files.function_at(f"C:\\{name}.dll", module(), 0x2010)
    why = f"the file is of another build: its time stamp is 0x7, not {STAMP:#x}"
    assert (files.found, files.refused) == (True, {"C:\\b.dll": why})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_says_why(tmp_path):
    put(tmp_path, "a.dll", dll())
    (tmp_path / "a.dll").chmod(0)
    assert function(tmp_path) == (None, "the file cannot be read: Permission denied")


@pytest.mark.skipif(os.name == "nt", reason="says so in other words")
def test_a_file_of_this_machine_that_the_system_refuses_to_look_at_says_why():
    path = f"C:\\{'x' * 300}.dll"
    assert ImageFiles(None).function_at(path, module(), 0x2010) == (
        None,
        "the file cannot be read: File name too long",
    )


@pytest.mark.parametrize(
    "path", ["..\\secret\\a.dll", "C:\\..\\a.dll", "../a.dll", "a.dll\0", "", ".", "\\", "C:"]
)
def test_no_name_of_a_trace_leads_out_of_the_folder(tmp_path, path):
    put(tmp_path, "secret/a.dll", dll())
    put(tmp_path, "a.dll", dll())
    (tmp_path / "images").mkdir()
    assert function(tmp_path / "images", path) == (None, "no file")


def test_a_folder_is_not_opened(tmp_path):
    (tmp_path / "a.dll").mkdir()
    assert function(tmp_path) == (None, "no file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.dll")
    assert function(tmp_path) == (None, "no file")


def test_a_file_is_opened_when_it_is_needed_and_once(tmp_path, monkeypatch):
    opened = []
    read = imagefiles.read_exports
    monkeypatch.setattr(imagefiles, "read_exports", lambda path: opened.append(path) or read(path))
    put(tmp_path, "a.dll", dll())
    files = ImageFiles(tmp_path)
    assert opened == []
    for offset in 0x2010, 0x2011, 0x2010:
        files.function_at(PATH, module(), offset)
    assert opened == [tmp_path / "a.dll"]


def test_on_this_machine_only_a_path_with_a_drive_is_opened(tmp_path):
    put(tmp_path, "a.dll", dll())
    _, without_drive = os.path.splitdrive(tmp_path / "a.dll")
    for path in (without_drive, "\\\\server\\share\\a.dll", "\\Device\\Mup\\server\\a.dll"):
        assert function(None, path) == (None, "no file")


@pytest.mark.skipif(not WINE.is_dir(), reason="Wine's own images are not here")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="binutils' objdump is not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("ntdll.dll", "DbgUiRemoteBreakin"), ("ntdll.dll", "RtlUserThreadStart"), ("kernel32.dll", "LoadLibraryW")],
)
def test_functions_of_wines_own_images_are_named_exactly(name, expected):
    """pefile reads them, and here its answer is held against another reader's: objdump's, of binutils."""
    table = subprocess.run(["objdump", "-p", WINE / name], check=True, capture_output=True, text=True).stdout
    build = imagefiles.read_build(WINE / name)
    rvas = _objdump_exports(table)
    wanted = module(name, build.stamp, build.size, build.checksum)
    assert ImageFiles(WINE).function_at(name, wanted, rvas[expected]) == (expected, None)
    assert ImageFiles(WINE).function_at(name, wanted, rvas[expected] + 1) == (None, NO_EXPORT)
    other = wanted._replace(stamp=1)
    assert ImageFiles(WINE).function_at(name, other, rvas[expected])[1].startswith("the file is of another build")


def _objdump_exports(table):
    """Return the offsets by name in what `objdump -p` prints of an export table."""
    addresses = {
        int(number): int(rva, 16)
        for number, rva in re.findall(r"\[\s*(\d+)\] \+base\[\s*\d+\] (\w+) Export", table)
    }
    names = table.partition("[Ordinal/Name Pointer] Table")[2]
    return {
        name: addresses[int(number)]
        for number, name in re.findall(r"\[\s*(\d+)\] (\S+)", names)
        if int(number) in addresses
    }
