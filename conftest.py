"""What all tests share: the Windows lab, which only one program at a time can have, and what needs an extra."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.windows_lab import Lab

_OF_EXTRAS: Final = {
    "spark": ("pyspark", ("etwdetect/fleet", "tests/fleet")),
    "parquet": ("pyarrow", ("etwdetect/sources/eventdata/parquet.py", "tests/sources/eventdata/test_files.py")),
}
"""By extra: a package of it, and what can't even be imported without. Extras of the group "test" need no place."""

_MISSING: Final = {
    Path(__file__).parent / path: f"{path} is left out: it needs {package}, the extra etwdetect[{extra}]"
    for extra, (package, paths) in _OF_EXTRAS.items()
    if find_spec(package) is None
    for path in paths
}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what needs an extra that is not installed."""
    return True if collection_path in _MISSING else None


def pytest_report_header() -> list[str]:
    """Say what is left out."""
    return list(_MISSING.values())


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Boot the Windows lab. Debian's packages are installed by CI alone, nobody else is taken by surprise."""
    if sys.platform == "win32":
        pytest.skip("no Windows lab: this is Windows")
    from tools.windows_lab import LabUnavailableError, open_lab  # noqa: PLC0415 (only on Linux)

    try:
        with open_lab(install_packages="CI" in os.environ) as opened:
            yield opened
    except LabUnavailableError as error:
        pytest.skip(f"no Windows lab: {error}")
