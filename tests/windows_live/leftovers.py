"""Ends with status 1 if this machine has a session of etwdetect: ``python -m tests.windows_live.leftovers``."""

import sys

from etwdetect.live import sessions
from etwdetect.live.ownership import PREFIX


def leftovers():
    """The names of etwdetect's sessions on this machine."""
    return [name for name in sessions.names() if name.startswith(PREFIX)]


if __name__ == "__main__":
    left = leftovers()
    sys.exit(f"sessions that were left behind: {', '.join(left)}" if left else 0)
