"""What all tests share: the Windows lab, which only one program at a time can have, so one fixture."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.windows_lab import Lab


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
