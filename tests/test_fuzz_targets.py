"""The fuzz targets hold for the inputs that fuzzing starts from; fuzzing itself is no test."""

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: a target reads Parquet")

from fuzz.corpus import SEEDS
from fuzz.targets import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_its_seeds(name):
    seeds = list(SEEDS[name]())
    assert seeds
    for data in seeds:
        TARGETS[name](data)


def test_each_target_has_seeds():
    assert SEEDS.keys() == TARGETS.keys()
