"""A Windows lab on a Linux machine: Wine with a real Windows CPython in it.

``python -m tools.windows_lab`` provisions it; docs/contributing/windows-lab.md tells what it proves and what
it does not. Everything lies in one directory, ``build/windows-lab`` unless ETWDETECT_WINDOWS_LAB names another.
"""

from tools.windows_lab.errors import LabError, LabUnavailableError
from tools.windows_lab.lab import Lab, open_lab

__all__ = ["Lab", "LabError", "LabUnavailableError", "open_lab"]
