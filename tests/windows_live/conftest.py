"""Tests on a real Windows, as an administrator: they open a session, and start threads in a process of their own.

Nobody is taken by surprise: they run only where ETWDETECT_LIVE_TESTS is 1.
"""

import os
import sys

import pytest


def why_not():
    """Why these tests can't run here; None where they can."""
    if sys.platform != "win32":
        return "this is no Windows"
    if os.environ.get("ETWDETECT_LIVE_TESTS") != "1":
        return "ETWDETECT_LIVE_TESTS is not 1"
    import ctypes  # noqa: PLC0415 (what follows is there on Windows alone)

    return None if ctypes.windll.shell32.IsUserAnAdmin() else "this user is no administrator"


@pytest.fixture(autouse=True)
def _on_purpose():
    reason = why_not()
    if reason:
        pytest.skip(reason)
