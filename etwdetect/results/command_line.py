"""A command line of Windows as its arguments, as a C program gets them.

The rules are those of Microsoft's C run-time, shared by CommandLineToArgvW: "Parsing C command-line arguments" in
Microsoft's documentation of C.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'(\\*)"|([ \t\r\n]+)|(\\+|[^\\" \t\r\n]+)')
"""Backslashes before a quote, with it; white space; anything else, which stands for itself."""


def split(command_line: str) -> list[str]:
    r"""Return the arguments in *command_line*, the program first.

    >>> split(r'"C:\Program Files\a.exe" -p 8336 "say \"hi\"" C:\b\ ""')
    ['C:\\Program Files\\a.exe', '-p', '8336', 'say "hi"', 'C:\\b\\', '']
    """
    arguments: list[str] = []
    pieces: list[str] | None = None  # of the argument that has begun
    quoted = False
    for found in _TOKEN.finditer(command_line):
        backslashes, blanks, text = found.groups()
        if blanks is not None and not quoted:
            if pieces is not None:
                arguments.append("".join(pieces))
            pieces = None
            continue
        pieces = [] if pieces is None else pieces
        if backslashes is None:
            pieces.append(blanks or text)
            continue
        # Two of them before a quote are one, and a single one makes the quote a character.
        pieces.append(backslashes[: len(backslashes) // 2])
        if len(backslashes) % 2:
            pieces.append('"')
        else:
            quoted = not quoted
    if pieces is not None:
        arguments.append("".join(pieces))
    return arguments
