"""Compressed buffer bodies, in the three formats that a trace file can name.

libfwnt decompresses (docs/contributing/dependencies.md); `xpress` does what libfwnt refuses though it is valid.
For the writer there is compression: real for XPRESS, which Windows uses for traces, and for the other two a valid
form that stores the bytes uncompressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.sources.etl import xpress

if TYPE_CHECKING:
    from collections.abc import Callable

LZNT1: Final = 2
XPRESS: Final = 3
XPRESS_HUFFMAN: Final = 4

_LZNT1_CHUNK: Final = 4096
_HUFFMAN_BLOCK: Final = 65536
_XPRESS_REACH: Final = 8192
_SHORTEST_MATCH: Final = 3
_LONGEST_MATCH: Final = 0x7FFF  # libfwnt, which other tools use, rejects matches from 0x9000 bytes on


def decompress(data: bytes, size: int, method: int) -> bytes:
    """Return *data* decompressed to *size* bytes.

    Raises ValueError, with the reason, if *data* is damaged or does not decode to *size* bytes.
    """
    import pyfwnt  # noqa: PLC0415 (lazy import: fast start-up for uncompressed traces)

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
        decoded = _decoded(decoder, data, size, method)
    except (OSError, MemoryError, ValueError) as error:
        raise ValueError("the compressed data is damaged") from error
    if len(decoded) != size:
        raise ValueError(f"compressed data decoded to {len(decoded)} bytes instead of {size}")
    return decoded


def _decoded(decoder: Callable[[bytes, int], bytes], data: bytes, size: int, method: int) -> bytes:
    try:
        return decoder(data, size)
    except OSError:
        if method != XPRESS:
            raise
        return xpress.decompress(data, size)


def compress(data: bytes, method: int) -> bytes:
    """Return *data* in the compressed format *method*; LZNT1 and XPRESS-Huffman contain literals only."""
    match method:
        case 2:
            return _store_lznt1(data)
        case 3:
            return _compress_xpress(data)
        case 4:
            return _store_huffman(data)
        case _:
            raise ValueError(f"unknown compression format {method}")


def _store_lznt1(data: bytes) -> bytes:
    """[MS-XCA] 2.5: chunks of 4096 bytes behind a u16 of signature 3, flag "compressed" 0 and size - 1."""
    chunks = (data[at : at + _LZNT1_CHUNK] for at in range(0, len(data), _LZNT1_CHUNK))
    return b"".join((0x3000 | len(chunk) - 1).to_bytes(2, "little") + chunk for chunk in chunks)


def _compress_xpress(data: bytes) -> bytes:
    """[MS-XCA] 2.3: 32 flags before each 32 items, an item being a byte (0) or a match with earlier ones (1)."""
    out = bytearray(4)
    flags, flag_count, flags_at = 0, 0, 0
    half_used_at = 0  # the offset of a length byte whose upper half is free
    seen: dict[bytes, int] = {}
    at = 0
    while at < len(data):
        key = data[at : at + _SHORTEST_MATCH]
        earlier = seen.get(key, -_XPRESS_REACH - 1)
        seen[key] = at
        if at - earlier > _XPRESS_REACH or len(key) < _SHORTEST_MATCH:
            out.append(data[at])
            flags, at = flags << 1, at + 1
        else:
            length = _match_length(data, earlier, at)
            half_used_at = _put_match(out, at - earlier, length - _SHORTEST_MATCH, half_used_at)
            flags, at = flags << 1 | 1, at + length
        flag_count += 1
        if flag_count == 32:
            out[flags_at : flags_at + 4] = flags.to_bytes(4, "little")
            flags, flag_count, flags_at = 0, 0, len(out)
            out += bytes(4)
    rest = 32 - flag_count
    out[flags_at : flags_at + 4] = (flags << rest | (1 << rest) - 1).to_bytes(4, "little")
    return bytes(out)


def _match_length(data: bytes, earlier: int, at: int) -> int:
    length, longest = _SHORTEST_MATCH, min(len(data) - at, _LONGEST_MATCH)
    while length < longest and data[earlier + length] == data[at + length]:
        length += 1
    return length


def _put_match(out: bytearray, distance: int, extra: int, half_used_at: int) -> int:
    """Append a match *extra* bytes longer than the shortest; return the offset of a half-used byte, or 0."""
    out += (distance - 1 << 3 | min(extra, 7)).to_bytes(2, "little")
    if extra < 7:
        return half_used_at
    nibble = min(extra - 7, 15)
    if half_used_at:
        out[half_used_at] |= nibble << 4
        half_used_at = 0
    else:
        half_used_at = len(out)
        out.append(nibble)
    if nibble == 15:
        if extra < 7 + 15 + 255:
            out.append(extra - 7 - 15)
        else:
            out += b"\xff" + extra.to_bytes(2, "little")
    return half_used_at


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
        # A decoder reads one word ahead before the next block's code lengths.
        blocks.append(lengths + bytes(block) + b"\0\0")
    return b"".join(blocks)
