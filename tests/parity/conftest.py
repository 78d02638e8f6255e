"""The tests in inside/ are for Windows CPython; test_inside.py hands them over."""

import sys

collect_ignore = [] if sys.platform == "win32" else ["inside"]
