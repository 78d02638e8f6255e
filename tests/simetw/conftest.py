"""The tests here are for Windows CPython; test_inside.py hands them over, on Linux."""

import sys

collect_ignore = ["test_inside.py"] if sys.platform == "win32" else ["inside"]
