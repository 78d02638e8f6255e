"""The changes of mutation.py, which takes an hour, still fit today's code."""

import pytest

from parity_tests.checkout import ROOT
from parity_tests.tests import mutation


@pytest.mark.parametrize("change", mutation.load(), ids=lambda change: change["what"])
def test_each_change_has_one_place_in_the_code(change):
    text = (ROOT / change["file"]).read_text()
    assert text.count(change["old"]) == 1
    assert change["old"] != change["new"]
