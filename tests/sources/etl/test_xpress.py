"""XPRESS in Python: the forms of a match byte for byte, and against libfwnt."""

from contextlib import suppress

import pyfwnt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.etl import xpress
from etwdetect.sources.etl.compression import XPRESS, compress, decompress
from tests.bytes_by_hand import u16, u32

LITERAL_AND_MATCHES = u32(0x7FFF_FFFF)
"""The flags of one literal and 31 matches."""
LONG = u16(7)
"""A match with the byte before, whose length has more bytes: a nibble, a byte, a u16 and a u32."""


@pytest.mark.parametrize(
    ("match", "length"),
    [
        pytest.param(u16(0), 3, id="three-bits"),
        pytest.param(LONG + b"\x0e", 14 + 7 + 3, id="nibble"),
        pytest.param(LONG + b"\x0f\xfe", 254 + 15 + 7 + 3, id="byte"),
        pytest.param(LONG + b"\x0f\xff" + u16(0xFFFF), 0xFFFF + 3, id="two-bytes"),
        pytest.param(LONG + b"\x0f\xff" + u16(0) + u32(0x1_0001), 0x1_0001 + 3, id="four-bytes"),
        pytest.param(LONG + b"\x21" + LONG, 1 + 7 + 3 + 2 + 7 + 3, id="both-halves-of-a-byte"),
    ],
)
def test_a_match_of_every_form_is_as_long_as_it_says(match, length):
    data = LITERAL_AND_MATCHES + b"a" + match
    assert xpress.decompress(data, 1 + length) == b"a" * (1 + length)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 300)), min_size=1, max_size=12))
def test_it_decodes_what_libfwnt_does(runs):
    data = b"".join(run * times for run, times in runs)
    packed = compress(data, XPRESS)
    assert xpress.decompress(packed, len(data)) == pyfwnt.lzxpress_decompress(packed, len(data)) == data


@given(st.binary(max_size=200), st.integers(1, 5000))
def test_any_bytes_are_decoded_to_the_size_or_are_an_error(data, size):
    with suppress(ValueError):
        assert len(xpress.decompress(data, size)) == size


def test_a_run_that_libfwnt_refuses_is_decoded_all_the_same():
    run = LITERAL_AND_MATCHES + b"a" + LONG + b"\x0f\xff" + u16(40_000)
    with pytest.raises(OSError, match="out of bounds"):
        pyfwnt.lzxpress_decompress(run, 40_004)
    assert decompress(run, 40_004, XPRESS) == b"a" * 40_004
    with pytest.raises(ValueError, match="the compressed data is damaged"):
        decompress(run, 40_003, XPRESS)
