"""Compressed buffer bodies, in the three formats that a trace file can name.

Decompression is libfwnt's (docs/dependencies.md). For the writer there is a form of each that stores the
bytes without making them fewer: valid, and enough for samples and tests.
"""

from __future__ import annotations

from typing import Final

LZNT1: Final = 2
XPRESS: Final = 3
XPRESS_HUFFMAN: Final = 4

_LZNT1_CHUNK: Final = 4096
_HUFFMAN_BLOCK: Final = 65536


def decompress(data: bytes, size: int, method: int) -> bytes:
    """Return the *size* bytes that *data* holds in compressed form.

    Raises ValueError, with what is wrong, where they are not *size* or *data* is no such form.
    """
    import pyfwnt  # noqa: PLC0415 (plain traces start faster without it)

    match method:
        case 2:
            decoder = pyfwnt.lznt1_decompress
        case 3:
            decoder = pyfwnt.lzxpress_decompress
        case 4:
            decoder = pyfwnt.lzxpress_huffman_decompress
        case _:
            raise ValueError(f"unknown compression format {method}")
    try:
        decoded: bytes = decoder(data, size)
    except (OSError, MemoryError, ValueError) as error:
        raise ValueError("the compressed data is damaged") from error
    if len(decoded) != size:
        raise ValueError(f"{len(decoded)} bytes came of compressed data that should hold {size}")
    return decoded


def store(data: bytes, method: int) -> bytes:
    """Return *data* in the compressed format *method*, as literals only."""
    match method:
        case 2:
            return _store_lznt1(data)
        case 3:
            return _store_xpress(data)
        case 4:
            return _store_huffman(data)
        case _:
            raise ValueError(f"unknown compression format {method}")


def _store_lznt1(data: bytes) -> bytes:
    """[MS-XCA] 2.5: chunks of 4096 bytes behind a u16 of signature 3, flag "compressed" 0 and size - 1."""
    chunks = (data[at : at + _LZNT1_CHUNK] for at in range(0, len(data), _LZNT1_CHUNK))
    return b"".join((0x3000 | len(chunk) - 1).to_bytes(2, "little") + chunk for chunk in chunks)


def _store_xpress(data: bytes) -> bytes:
    """[MS-XCA] 2.3: 32 flags, one a literal where 0, before each 32 bytes; the flags left over are 1."""
    groups = (data[at : at + 32] for at in range(0, len(data), 32))
    return b"".join((0xFFFFFFFF >> len(group)).to_bytes(4, "little") + group for group in groups)


def _store_huffman(data: bytes) -> bytes:
    """[MS-XCA] 2.1: per 64 KiB block 256 bytes of code lengths, a nibble a symbol, then 16-bit words.

    Each of the 256 literals has a code of 8 bits, so the canonical code of a byte is the byte; a word holds
    two, the first in its upper half.
    """
    lengths = b"\x88" * 128 + b"\0" * 128
    blocks = []
    for at in range(0, len(data), _HUFFMAN_BLOCK):
        block = bytearray(data[at : at + _HUFFMAN_BLOCK])
        if len(block) % 2:
            block.append(0)
        block[0::2], block[1::2] = block[1::2], block[0::2]
        # A decoder has read one word ahead when it turns to the next block's code lengths.
        blocks.append(lengths + bytes(block) + b"\0\0")
    return b"".join(blocks)
