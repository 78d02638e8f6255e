"""Decompresses XPRESS in Python, for data that libfwnt refuses: matches of 36,864 bytes and more.

Any program can cause such a match by logging an event with a long run of one byte, and other programs' events
share its buffer.
"""

from __future__ import annotations

from typing import Final

_SHORTEST_MATCH: Final = 3


def decompress(data: bytes, size: int) -> bytes:
    """Return *data*, plain LZ77 of [MS-XCA] 2.4, decompressed to *size* bytes. Raises ValueError if damaged."""
    try:
        return bytes(_decompress(data, size))
    except IndexError:
        raise ValueError("the compressed data ends early") from None


def _decompress(data: bytes, size: int) -> bytearray:
    out = bytearray()
    at = flags = flags_left = 0
    half_used_at = 0  # the offset of a length byte whose upper half is unread
    while len(out) < size:
        if not flags_left:
            flags, flags_left = _number(data, at, 4), 32
            at += 4
        flags_left -= 1
        if not flags >> flags_left & 1:
            out.append(data[at])
            at += 1
            continue
        distance, length = divmod(_number(data, at, 2), 8)
        distance += 1
        at += 2
        if length == 7:
            if half_used_at:
                length, half_used_at = data[half_used_at] >> 4, 0
            else:
                length, half_used_at = data[at] & 15, at
                at += 1
            if length == 15:
                length, at = _long(data, at)
            length += 7
        length += _SHORTEST_MATCH
        if distance > len(out) or length > size - len(out):
            raise ValueError("a match lies outside the data")
        run = out[-distance:]
        out += (run * (length // distance + 1))[:length]
    return out


def _long(data: bytes, at: int) -> tuple[int, int]:
    """Return the length less 7, encoded at *at* in one, three or seven bytes, and the offset after it."""
    if data[at] < 255:
        return data[at] + 15, at + 1
    length, end = _number(data, at + 1, 2), at + 3
    if length == 0:
        length, end = _number(data, end, 4), end + 4
    if length < 7 + 15:
        raise ValueError("a long match has a short length")
    return length - 7, end


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "little")
