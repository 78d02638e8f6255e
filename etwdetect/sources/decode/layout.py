"""Payload layouts as data, and the readers for them.

A layout is a line of text: the fields of the payload in order, each a name and a type. Payloads are packed: a
field begins where the one before it ends.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FIXED: Final = {
    4: {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "ptr": "I"},
    8: {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "ptr": "Q"},
}
"""By pointer size and type: the struct module's letter."""
_SIZES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}
_TOKEN_USER_SIZES: Final = {4: 8, 8: 16}
_NOBODY: Final = b"\1" + bytes(7)
"""A SID with no subauthority."""

ORDINARY: Final = 520
"""Longer texts, in bytes, are not cached."""

_ESCAPE: Final = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")
_HALF_A_LETTER: Final = re.compile(rb"([\x80-\xff])\\")

Value = int | str | bytes | None


class Field(NamedTuple):
    """One field: its name, and its type.

    Types: *u8 u16 u32 u64* are unsigned integers; *ptr* has 4 or 8 bytes; *sid* is a security identifier of
    8 bytes and 4 more for each subauthority; *user* is a security identifier after a TOKEN_USER (8 or 16 bytes),
    or a u32 of 0; *ansi* and *utf16* are strings up to a NUL.
    """

    name: str
    type: str


class Layout:
    """The fields of one version of one event."""

    def __init__(self, text: str) -> None:
        """Take the layout as text: ``"ProcessID u32, CreateTime u64"``."""
        self.fields = tuple(Field(*part.split()) for part in text.split(","))

    def then(self, text: str) -> Layout:
        """Return this layout with the fields of *text* appended, as newer versions are made."""
        longer = Layout(text)
        longer.fields = self.fields + longer.fields
        return longer

    def reader(self, pointer_size: int, names: tuple[str, ...]) -> Reader:
        """Return a reader of the fields *names* for payloads whose pointers have *pointer_size* bytes."""
        return Reader(self.fields, pointer_size, names)

    def offset_of(self, name: str, pointer_size: int) -> int:
        """Return where the field *name* begins, in bytes; which no string may precede."""
        return self.fixed(pointer_size, (name,))[0][name][0]

    def fixed(
        self, pointer_size: int, names: tuple[str, ...]
    ) -> tuple[dict[str, tuple[int, int]], int, tuple[str, ...]]:
        """Return the offset and size of the fields up to the first string, where they end, and the types behind.

        Those are of the fields up to the last one of *names*.
        """
        fixed = list(takewhile(lambda field: field.type in _FIXED[pointer_size], self.fields))
        places, at = {}, 0
        for field in fixed:
            size = _SIZES[_FIXED[pointer_size][field.type]]
            places[field.name] = at, size
            at += size
        behind = self.fields[len(fixed) :]
        read = max((number for number, field in enumerate(behind, 1) if field.name in names), default=0)
        return places, at, tuple(field.type for field in behind[:read])

    def pack(self, pointer_size: int, values: Mapping[str, Value]) -> bytes:
        """Return a payload of this layout; fields that *values* does not name are zero, empty or absent."""
        return b"".join(_pack_field(field.type, pointer_size, values.get(field.name)) for field in self.fields)


class Reader:
    """Reads chosen fields of a payload.

    `size` is the least size of such a payload in bytes: of all fields before the first string or SID. `struct`
    reads the chosen ones among these.
    """

    def __init__(self, fields: tuple[Field, ...], pointer_size: int, names: tuple[str, ...]) -> None:
        fixed: list[str] = []
        read: list[str] = []
        self._tail: list[tuple[Field, bool]] = []
        for field in fields:
            letter = _FIXED[pointer_size].get(field.type)
            if letter is None or self._tail:
                self._tail.append((field, field.name in names))
            elif field.name in names:
                fixed.append(letter)
                read.append(field.name)
            else:
                fixed.append(f"{_SIZES[letter]}x")
        self._whole_tail = tuple(self._tail)
        while self._tail and not self._tail[-1][1]:
            self._tail.pop()
        self.struct = Struct("<" + "".join(fixed))
        self.size = self.struct.size
        self._pointer_size = pointer_size
        read += [field.name for field, wanted in self._tail if wanted]
        # The index of each name in what is read; of a field that this layout lacks, that of the None behind it.
        order = tuple(read.index(name) if name in read else len(read) for name in names)
        self._chosen = None if order == tuple(range(len(read))) else _chooser(order)

    def __call__(self, payload: bytes) -> tuple[Value, ...]:
        """Return the values of the chosen fields, None for those that this layout does not have.

        Raises PayloadError where *payload* is too short.
        """
        if len(payload) < self.size:
            raise PayloadError(f"a payload of {len(payload)} bytes where its version has at least {self.size}")
        values: tuple[Value, ...] = self.struct.unpack_from(payload)
        if self._tail:
            values += self._read_tail(payload, self._tail)[0]
        return values if self._chosen is None else self._chosen((*values, None))

    def fits(self, payload: bytes) -> bool:
        """Whether *payload* holds all fields of this layout, followed only by zeroes."""
        try:
            if len(payload) < self.size:
                return False
            end = self._read_tail(payload, self._whole_tail)[1]
        except PayloadError:
            return False
        return not any(payload[end:])

    def _read_tail(self, payload: bytes, tail: Sequence[tuple[Field, bool]]) -> tuple[tuple[Value, ...], int]:
        """Return the chosen values of the *tail* after the fixed fields, and where the tail ends."""
        at = self.size
        values: list[Value] = []
        for field, wanted in tail:
            value, at = _read_field(payload, at, field, self._pointer_size)
            if wanted:
                values.append(value)
        return tuple(values), at


def _chooser(order: tuple[int, ...]) -> Callable[[tuple[Value, ...]], tuple[Value, ...]]:
    """Return a function that returns the values at the indexes in *order*."""
    return itemgetter(*order) if len(order) > 1 else lambda values: (values[order[0]],)


def _pack_field(kind: str, pointer_size: int, value: Value) -> bytes:
    match kind:
        case "ansi":
            text = str(value or "").encode("ascii", "replace")
            return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), text) + b"\0"
        case "utf16":
            return str(value or "").encode("utf-16-le", "surrogatepass") + b"\0\0"
        case "sid" | "user":
            sid = value if isinstance(value, bytes) else None
            if kind == "sid":
                return sid or _NOBODY
            return bytes(4) if sid is None else b"\1".ljust(_TOKEN_USER_SIZES[pointer_size], b"\0") + sid
        case _:
            number = value if isinstance(value, int) else 0
            return number.to_bytes(_SIZES[_FIXED[pointer_size][kind]], "little")


def _read_field(payload: bytes, at: int, field: Field, pointer_size: int) -> tuple[Value, int]:
    """Return the value of *field* at *at*, and where the next one begins."""
    value: Value
    match field.type:
        case "ansi":
            value, end = _read_ansi(payload, at)
        case "utf16":
            value, end = _read_utf16(payload, at)
        case "sid":
            value, end = _read_sid(payload, at)
        case "user":
            value, end = _read_user(payload, at, pointer_size)
        case _:
            end = at + _SIZES[_FIXED[pointer_size][field.type]]
            value = int.from_bytes(payload[at:end], "little")
    if at >= len(payload) or end > len(payload):
        raise PayloadError(f"a payload of {len(payload)} bytes ends inside its field {field.name}")
    return value, end


def _read_ansi(payload: bytes, at: int) -> tuple[str, int]:
    r"""Read a name in the recording machine's ANSI code page, which the trace does not name.

    Bytes beyond ASCII become escapes such as ``\xe4``, and so does a backslash behind one: some code pages have it
    as half of a letter.
    """
    end = payload.find(b"\0", at)
    text, next_at = (payload[at:], len(payload)) if end < 0 else (payload[at:end], end + 1)
    if not text.isascii():
        text = _HALF_A_LETTER.sub(rb"\1\\x5c", text)
    return text.decode("ascii", "backslashreplace"), next_at


def _read_utf16(payload: bytes, at: int) -> tuple[str, int]:
    text, size = utf16(payload[at:])
    return text, at + size


def utf16(data: bytes) -> tuple[str, int]:
    """Return the text that *data* begins with, and its size in bytes with the NUL."""
    return _cached_utf16(data) if len(data) <= ORDINARY else _utf16(data)


def _utf16(data: bytes) -> tuple[str, int]:
    end = data.find(b"\0\0")
    while end % 2 and end >= 0:
        end = data.find(b"\0\0", end + 1)
    if end < 0:
        return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass"), len(data)
    return data[:end].decode("utf-16-le", "surrogatepass"), end + 2


_cached_utf16 = lru_cache(maxsize=4096)(_utf16)
"""One image is mapped by many processes."""


def _read_sid(payload: bytes, at: int) -> tuple[bytes, int]:
    """[MS-DTYP] 2.4.2.2: u8 revision 1, u8 count of subauthorities (15 at most), 6 + 4 · count bytes."""
    if payload[at : at + 1] != b"\1" or payload[at + 1 : at + 2] > b"\x0f":
        raise PayloadError("an invalid security identifier")
    end = at + 8 + 4 * payload[at + 1] if at + 1 < len(payload) else len(payload) + 1
    return payload[at:end], end


def _read_user(payload: bytes, at: int, pointer_size: int) -> tuple[bytes | None, int]:
    """Read the SID after a TOKEN_USER, whose pointer means nothing, or a u32 of 0 where there is no SID.

    In events written by programs, that pointer can be 0, too: then there is a SID after it.
    """
    sid_at = at + _TOKEN_USER_SIZES[pointer_size]
    if payload[at : at + 4] != bytes(4):
        return _read_sid(payload, sid_at)
    sid_begins = payload[sid_at : sid_at + 1] == b"\1" and payload[sid_at + 2 : sid_at + 7] == bytes(5)
    return _read_sid(payload, sid_at) if sid_begins else (None, at + 4)
