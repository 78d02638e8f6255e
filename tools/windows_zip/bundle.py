"""What is in the .zip, as files by name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.windows_lab import windows_python
from tools.windows_lab.errors import LabError
from tools.windows_zip import texts, wheels
from tools.windows_zip.archive import zip_bytes

if TYPE_CHECKING:
    from pathlib import Path

_START: Final = b"""\
import sys

from etwdetect.cli import main

sys.exit(main())
"""

# The launcher starts the Python that the first line behind it names, with the .zip behind that line.
_FIRST_LINE: Final = b'#!"<launcher_dir>\\python\\python.exe"\r\n'
_LAUNCHER: Final = "distlib/t64.exe"


class Parts(NamedTuple):
    """Where the parts lie that were fetched: the *project*, the *interpreter*'s folder and the *wheels*'."""

    project: Path
    interpreter: Path
    wheels: Path


def fetch(project: Path) -> Parts:
    """Fetch all that goes into the .zip of the project in *project*, into its folder build. Raises LabError."""
    scratch = project / "build" / "windows-zip"
    shutil.rmtree(scratch, ignore_errors=True)
    parts = Parts(project, scratch / "python", scratch / "wheels")
    windows_python.install_python(parts.interpreter, scratch / "download")
    parts.wheels.mkdir(parents=True)
    wheels.download(parts.wheels)
    wheels.build(project, parts.wheels)
    return parts


def assemble(parts: Parts) -> dict[str, bytes]:
    """Return the files of the .zip. Raises LabError."""
    files = {f"python/{path.name}": path.read_bytes() for path in parts.interpreter.iterdir()}
    files |= _parity_tests(parts.project)
    files[f"python/{windows_python.PATH_FILE}"] = windows_python.search_path("..\\lib").encode()
    about = {path.name: wheels.read(path) for path in parts.wheels.glob("*.whl")}
    packages = sorted(about.values(), key=lambda wheel: wheel.name.lower())
    for package in packages:
        if package.name == wheels.LAUNCHER:
            files["etwdetect.exe"] = package.files[_LAUNCHER] + _FIRST_LINE + zip_bytes({"__main__.py": _START})
        else:
            _add(files, {f"lib/{name}": content for name, content in package.files.items()})
        folder = f"licences/{package.name}-{package.version}"
        _add(files, {f"{folder}/{name}": content for name, content in package.licences.items()})
    if "etwdetect.exe" not in files:
        raise LabError(f"{wheels.LAUNCHER} is not among the wheels")
    files["licences/CPython/LICENSE.txt"] = files["python/LICENSE.txt"]
    files["licences/README.txt"] = texts.licences(packages)
    files["README.txt"] = texts.readme()
    return files


def _parity_tests(project: Path) -> dict[str, bytes]:
    """Return the parity tests with their scenarios, for the vm bench. Their own tests are left out."""
    folder = project / "parity_tests"
    return {
        f"parity_tests/{name.as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".py", ".toml"} and (name := path.relative_to(folder)).parts[0] != "tests"
    }


def _add(files: dict[str, bytes], more: dict[str, bytes]) -> None:
    """Add *more* to *files*. LabError where two packages have a file of one name with another content."""
    for name, content in more.items():
        if files.setdefault(name, content) != content:
            raise LabError(f"{name} is in two packages")
