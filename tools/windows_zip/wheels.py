"""The wheels that go into the .zip: what they hold, and their versions, from requirements.txt beside this."""

from __future__ import annotations

import email
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.windows_lab.errors import LabError
from tools.windows_lab.steps import run_step
from tools.windows_lab.windows_python import PIP_SECONDS, WINDOWS_WHEELS, own_requirements, pip

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: Final = Path(__file__).with_name("requirements.txt")

LAUNCHER: Final = "distlib"
"""Has the launcher that is etwdetect.exe; nothing else of it goes into the .zip."""

# What click asks for on Windows alone: pip judges such conditions by the machine that it runs on.
_ON_WINDOWS: Final = ("colorama>=0.4.6",)

_HEAD: Final = """\
# What goes into the .zip for Windows, by version and content. Made by: python -m tools.windows_zip --lock
"""

_DEVELOPMENT: Final = (".pyi", ".lib", ".a", ".h", ".pxd", "/py.typed")
_LICENCE_WORDS: Final = ("licen", "copying", "notice", "authors")


class Wheel(NamedTuple):
    """What is in a wheel: *files* by their names below the folder for libraries, and the *licences* among them."""

    name: str
    version: str
    licence: str
    files: dict[str, bytes]
    licences: dict[str, bytes]


def lock(project: Path) -> None:
    """Write LOCK, with the newest versions that the project in *project* takes. Raises LabError."""
    wanted = [*own_requirements(project, extras=("sigma",)), *_ON_WINDOWS, LAUNCHER]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        run_step(
            "pip install --dry-run",
            pip(
                f"install --dry-run --ignore-installed {WINDOWS_WHEELS}",
                "--target",
                scratch,
                "--report",
                str(report),
                *wanted,
            ),
            timeout=PIP_SECONDS,
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = sorted(
        f"{each['metadata']['name'].lower()}=={each['metadata']['version']}"
        f" --hash=sha256:{each['download_info']['archive_info']['hashes']['sha256']}"
        for each in found
    )
    LOCK.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def download(folder: Path) -> None:
    """Put the wheels of LOCK, with the content that it says, into *folder*. Raises LabError."""
    run_step(
        "pip download of Windows wheels",
        pip(f"download --no-deps --require-hashes {WINDOWS_WHEELS}", "-r", str(LOCK), "-d", str(folder)),
        timeout=PIP_SECONDS,
    )


def build(project: Path, folder: Path) -> None:
    """Put the wheel of the project in *project* into *folder*. Raises LabError."""
    run_step("pip wheel", pip("wheel --no-deps", "--wheel-dir", str(folder), str(project)), timeout=PIP_SECONDS)


def read(path: Path) -> Wheel:
    """Return what is in the wheel at *path*, without what only developers need. Raises LabError."""
    with zipfile.ZipFile(path) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    metadata = next((name for name in files if name.endswith(".dist-info/METADATA")), None)
    if metadata is None:
        raise LabError(f"{path.name}: no METADATA in it")
    info = metadata.removesuffix("METADATA")
    about = email.message_from_bytes(files[metadata])
    licences = dict(_licences(files, info))
    if not licences:
        raise LabError(f"{path.name}: no licence in it")
    return Wheel(
        about["Name"],
        about["Version"],
        _licence_of(about),
        {name: content for name, content in files.items() if name == metadata or _is_needed(name)},
        licences,
    )


def _is_needed(name: str) -> bool:
    folders = name.split("/")[:-1]
    # Scripts would start another Python; RECORD would tell of files that are left out here.
    return not (
        name.endswith(_DEVELOPMENT)
        or "tests" in folders
        or any(part.endswith((".data", ".dist-info")) for part in folders)
    )


def _licences(files: dict[str, bytes], info: str) -> Iterator[tuple[str, bytes]]:
    for name, content in files.items():
        rest = name.removeprefix(info)
        if rest != name and any(word in rest.lower() for word in _LICENCE_WORDS):
            yield rest.removeprefix("licenses/"), content


def _licence_of(about: email.message.Message) -> str:
    """Return what a package's metadata call its licence, in one line."""
    told = about["License-Expression"] or about["License"] or ""
    if told and "\n" not in told:
        return str(told)
    names = [
        value.rpartition(" :: ")[2] for value in about.get_all("Classifier", []) if value.startswith("License")
    ]
    return ", ".join(names) or "see its text"
