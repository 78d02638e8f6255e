"""The image files of the machine itself, as live commands read them."""

from pathlib import Path

import pytest

from etwdetect.enrich.exports import read_build, read_exports
from etwdetect.enrich.imagefiles import ImageFiles
from etwdetect.enrich.modules import Module

SYSTEM32 = "C:\\windows\\system32"


@pytest.mark.parametrize(
    ("name", "function"),
    [("ntdll.dll", "DbgUiRemoteBreakin"), ("ntdll.dll", "RtlUserThreadStart"), ("kernel32.dll", "LoadLibraryW")],
)
def test_a_function_of_the_machines_own_images_is_found(name, function):
    path = f"{SYSTEM32}\\{name}"
    build = read_build(Path(path))
    (offset,) = (offset for offset, each in read_exports(Path(path)).items() if each == function)
    module = Module(0x10000, build.size, path, build.checksum, build.stamp, 1)
    assert ImageFiles(None).function_at(path, module, offset) == (function, None)
    of_another_build = module._replace(stamp=1)
    assert ImageFiles(None).function_at(path, of_another_build, offset)[0] is None
