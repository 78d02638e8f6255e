r"""Account names and text forms of security identifiers (SIDs).

>>> account(bytes.fromhex("010100000000000512000000"))
'NT AUTHORITY\\SYSTEM'
>>> account(bytes.fromhex("01020000000000052000000020020000"))
'BUILTIN\\Administrators'
"""

from __future__ import annotations

import re
import struct
from typing import Final

_WELL_KNOWN: Final = {
    "S-1-0-0": "NULL SID",
    "S-1-1-0": "Everyone",
    "S-1-5-7": "NT AUTHORITY\\ANONYMOUS LOGON",
    "S-1-5-18": "NT AUTHORITY\\SYSTEM",
    "S-1-5-19": "NT AUTHORITY\\LOCAL SERVICE",
    "S-1-5-20": "NT AUTHORITY\\NETWORK SERVICE",
    "S-1-5-32-544": "BUILTIN\\Administrators",
    "S-1-5-32-545": "BUILTIN\\Users",
    "S-1-5-32-546": "BUILTIN\\Guests",
}
"""[MS-DTYP] 2.4.2.4; the names are those of an English Windows. Accounts of a single machine are not here."""

_NUMBERED: Final = (
    (re.compile(r"S-1-5-90-0-(\d+)"), "Window Manager\\DWM-{}"),
    (re.compile(r"S-1-5-96-0-(\d+)"), "Font Driver Host\\UMFD-{}"),
)
"""Accounts that Windows creates for each session; the last number is that of the session."""


def account(sid: bytes) -> str | None:
    """Return the name of the well-known *sid*, or else its text form; None if it is not a valid SID.

    [MS-DTYP] 2.4.2.2: u8 revision, u8 number of subauthorities, 6 bytes of authority (big-endian), then the
    subauthorities, u32 each.
    """
    if len(sid) < 8 or sid[0] != 1 or len(sid) < 8 + 4 * sid[1]:
        return None
    numbers = int.from_bytes(sid[2:8], "big"), *struct.unpack_from(f"<{sid[1]}I", sid, 8)
    text = "-".join(("S-1", *map(str, numbers)))
    for pattern, name in _NUMBERED:
        if match := pattern.fullmatch(text):
            return name.format(match[1])
    return _WELL_KNOWN.get(text, text)
