"""The stand-ins for system images, read by the code that reads real ones."""

import pytest

from etwdetect.enrich.exports import read_build, read_exports
from parity_tests import addresses
from parity_tests.imagefiles import EXPORTED, write_images


@pytest.mark.parametrize("image", addresses.SYSTEM_IMAGES)
def test_an_image_exports_its_functions_where_timelines_start_threads(tmp_path, image):
    write_images(tmp_path)
    base = addresses.image_base(image)
    expected = {
        addresses.start_address(at) - base: at.partition("!")[2] for at in EXPORTED if at.startswith(f"{image}!")
    }
    assert read_exports(tmp_path / image) == expected
    assert expected


@pytest.mark.parametrize("image", addresses.SYSTEM_IMAGES)
def test_an_image_is_of_the_build_that_timelines_load(tmp_path, image):
    write_images(tmp_path)
    stamp = addresses.time_stamp(image)
    assert read_build(tmp_path / image) == (stamp, addresses.IMAGE_SIZE, stamp)
