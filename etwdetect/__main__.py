"""Runs the command line: `python -m etwdetect`."""

import sys

from etwdetect.cli import main

if __name__ == "__main__":
    sys.exit(main())
