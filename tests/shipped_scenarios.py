"""The scenarios of the repository, read once for all test files: that takes seconds."""

from parity_tests import loading

SCENARIOS = loading.find(None)
