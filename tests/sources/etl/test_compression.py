"""The three compression formats, against the examples of [MS-XCA] and against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.etl.compression import compress, decompress

LZNT1, XPRESS, HUFFMAN = 2, 3, 4
METHODS = pytest.mark.parametrize("method", [LZNT1, XPRESS, HUFFMAN])

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
TUNE = (
    b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D "
    b"E A F# F# G A A G F# E D D E F# E D D\0"
)


@pytest.mark.parametrize(
    ("method", "compressed", "plain"),
    [
        pytest.param(
            LZNT1,
            "38b0 88462320 00204720 410010a2 4701a045 20440008 45015079 00c04520 05241388 05b4024a 44ef0358"
            "028c0916 01484500 be009e00 04011890 00",
            TUNE,
            id="lznt1",
        ),
        pytest.param(XPRESS, "3f000000" + ALPHABET.hex(), ALPHABET, id="xpress-literals"),
        pytest.param(XPRESS, "ffffff1f 616263 1700 0f ff 2601", b"abc" * 100, id="xpress-match"),
        pytest.param(
            HUFFMAN,
            "00" * 48 + "5055555555555555555555454404" + "00" * 66 + "04" + "00" * 127
            + "d8523ed794115be9195ff9d67cdf8d0400000000",
            ALPHABET,
            id="huffman",
        ),
    ],
)  # fmt: skip
def test_the_examples_of_the_specification_decompress(method, compressed, plain):
    assert decompress(bytes.fromhex(compressed), len(plain), method) == plain


@METHODS
@given(data=st.binary(min_size=1, max_size=300))
def test_what_is_stored_decompresses_to_the_same(method, data):
    assert decompress(compress(data, method), len(data), method) == data


@METHODS
@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 4095, 4096, 4097, 65535, 65536, 65537, 200_001])
def test_what_is_stored_decompresses_at_every_boundary_of_a_block(method, size):
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert decompress(compress(data, method), size, method) == data


@pytest.mark.parametrize("method", [LZNT1, XPRESS])
def test_fewer_bytes_than_promised_are_an_error(method):
    with pytest.raises(ValueError, match="compressed data decoded to 100 bytes instead of 101"):
        decompress(compress(b"a" * 100, method), 101, method)


def test_the_huffman_form_notices_a_wrong_promise_only_past_its_block_of_64_kib():
    """libfwnt takes zero bits for what is missing; the walk over the records then finds no sense in them."""
    assert decompress(compress(b"a" * 100, HUFFMAN), 65536, HUFFMAN)[:100] == b"a" * 100
    with pytest.raises(ValueError, match="compressed data decoded to 65536 bytes instead of 65537"):
        decompress(compress(b"a" * 100, HUFFMAN), 65537, HUFFMAN)


@METHODS
def test_more_bytes_than_promised_are_never_returned(method):
    try:
        data = decompress(compress(b"a" * 100, method), 99, method)
    except ValueError:
        return
    assert data == b"a" * 99


@pytest.mark.parametrize("method", [0, 1, 5, 0xFFFF])
def test_an_unknown_format_is_an_error_that_names_it(method):
    with pytest.raises(ValueError, match=f"unknown compression format {method}"):
        decompress(b"abc", 3, method)
    with pytest.raises(ValueError, match=f"unknown compression format {method}"):
        compress(b"abc", method)


@METHODS
@given(data=st.binary(max_size=400), size=st.integers(0, 5000))
def test_any_bytes_decompress_to_the_promised_size_or_are_an_error(method, data, size):
    try:
        decoded = decompress(data, size, method)
    except ValueError:
        return
    assert len(decoded) == size
