"""The driver that mingw-w64 makes: what Windows checks before it loads one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MINGW = Path(__file__).parents[2] / "driver" / "mingw"
IMPORT_LIST = MINGW / "ntoskrnl.def"

NATIVE = 1
EXECUTABLE_IMAGE, DLL, RELOCS_STRIPPED = 0x0002, 0x2000, 0x0001
HIGH_ENTROPY_VA, DYNAMIC_BASE, FORCE_INTEGRITY, NX_COMPAT = 0x0020, 0x0040, 0x0080, 0x0100
EXECUTE, WRITE = 0x20000000, 0x80000000


@pytest.fixture(scope="module")
def image(sys_file):
    pefile = pytest.importorskip("pefile")
    with pefile.PE(sys_file) as opened:
        yield opened


def allowed_imports():
    names = IMPORT_LIST.read_text().partition("EXPORTS\n")[2]
    return re.findall(r"^(\w+) +;", names, re.MULTILINE)


def test_is_a_native_image_for_x64(image):
    assert image.FILE_HEADER.Machine == 0x8664
    assert image.OPTIONAL_HEADER.Subsystem == NATIVE
    assert image.FILE_HEADER.Characteristics & (EXECUTABLE_IMAGE | DLL) == EXECUTABLE_IMAGE


@pytest.mark.parametrize("bit", [FORCE_INTEGRITY, NX_COMPAT, DYNAMIC_BASE, HIGH_ENTROPY_VA])
def test_dll_characteristics(image, bit):
    assert image.OPTIONAL_HEADER.DllCharacteristics & bit


def test_can_be_relocated(image):
    assert not image.FILE_HEADER.Characteristics & RELOCS_STRIPPED
    assert sum(len(block.entries) for block in image.DIRECTORY_ENTRY_BASERELOC)


def test_has_a_valid_checksum(image):
    assert image.OPTIONAL_HEADER.CheckSum != 0
    assert image.verify_checksum()


def test_no_section_is_both_writable_and_executable(image):
    for section in image.sections:
        assert not (section.Characteristics & WRITE and section.Characteristics & EXECUTE), section.Name


def test_imports_only_what_windows_10_1809_exports(image):
    assert [library.dll.lower() for library in image.DIRECTORY_ENTRY_IMPORT] == [b"ntoskrnl.exe"]
    imported = {symbol.name.decode() for symbol in image.DIRECTORY_ENTRY_IMPORT[0].imports}
    # Both ways: a name that is not needed any more leaves the list.
    assert imported == set(allowed_imports())


def test_exports_nothing(image):
    assert not hasattr(image, "DIRECTORY_ENTRY_EXPORT")


@pytest.mark.slow
def test_a_compiler_that_lays_structures_out_differently_is_refused():
    compiler = shutil.which("x86_64-w64-mingw32-g++")
    if compiler is None:
        pytest.skip("x86_64-w64-mingw32-g++ is not installed")
    ddk = Path("/usr/share/mingw-w64/include/ddk")
    command = [
        compiler,
        "-std=c++20",
        "-fsyntax-only",
        "-isystem",
        ddk,
        "-include",
        MINGW / "Compat.h",
        "-xc++",
        "-",
    ]
    assert subprocess.run(command, input=b"", check=False).returncode == 0
    packed = subprocess.run([*command, "-fpack-struct=4"], input=b"", capture_output=True, check=False)
    assert packed.returncode != 0
    for name in (b"sizeof(FAST_MUTEX)", b"sizeof(ERESOURCE)", b"offsetof(IO_STACK_LOCATION, FileObject)"):
        assert b"static_assert(" + name in packed.stderr
