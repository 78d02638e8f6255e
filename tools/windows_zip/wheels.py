"""The wheels that go into the .zip: what they hold, and their versions, from the locks beside this."""

from __future__ import annotations

import email
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tools.windows_lab.errors import LabError
from tools.windows_lab.steps import run_step
from tools.windows_lab.windows_python import PIP_SECONDS, own_requirements, pip
from tools.windows_zip.platforms import X64

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tools.windows_zip.platforms import Platform

EXTRAS: Final = ("sigma",)
"""The extras that go into the .zip."""

LAUNCHER: Final = "distlib"
"""Has the launchers that are etwdetect.exe; nothing else of it goes into the .zip."""

# What click asks for on Windows alone: pip judges such conditions by the machine that it runs on.
_ON_WINDOWS: Final = ("colorama>=0.4.6",)

_HEAD: Final = """\
# What goes into the .zip for {platform}, by version and content. Made by: python -m tools.windows_zip --lock
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


def lock(project: Path, platform: Platform) -> list[str]:
    """Write the lock of *platform*, with the newest versions that the project in *project* takes.

    Returns the extras that are left out, because something that they need has no wheel there. Raises LabError.
    """
    wanted = [*own_requirements(project), *_ON_WINDOWS, LAUNCHER]
    missing = []
    for extra in EXTRAS:
        more = [each for each in own_requirements(project, (extra,)) if each not in wanted]
        try:
            _resolve(platform, more)
        except LabError:
            if platform is X64:
                raise
            missing.append(extra)
        else:
            wanted += more
    lines = sorted(
        f"{each['metadata']['name'].lower()}=={each['metadata']['version']}"
        f" --hash=sha256:{each['download_info']['archive_info']['hashes']['sha256']}"
        for each in _resolve(platform, wanted)
    )
    text = _HEAD.format(platform=platform.name) + "\n".join(lines) + "\n"
    platform.lock.write_text(text, encoding="utf-8")
    return missing


def _resolve(platform: Platform, wanted: Sequence[str]) -> list[Any]:
    """Return what pip would install for *wanted*. Raises LabError."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        words = f"install --dry-run --ignore-installed {platform.wheels}"
        run_step(
            "pip install --dry-run",
            pip(words, "--target", scratch, "--report", str(report), *wanted),
            timeout=PIP_SECONDS,
        )
        found: list[Any] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return found


def locked(platform: Platform) -> set[str]:
    """Return the names of the packages in the lock of *platform*."""
    lines = platform.lock.read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0] for line in lines if not line.startswith("#")}


def download(folder: Path, platform: Platform) -> None:
    """Put the wheels of the lock, with the content that it says, into *folder*. Raises LabError."""
    run_step(
        "pip download of Windows wheels",
        pip(f"download --no-deps --require-hashes {platform.wheels}", "-r", str(platform.lock), "-d", str(folder)),
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
