"""Where the checkout of the repository is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder that holds this package: a checkout, or the unpacked .zip for Windows."""
