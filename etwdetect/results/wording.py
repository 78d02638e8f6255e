r"""How text is put into lines that people read.

Whoever starts a process chooses its name, so what comes from a trace is made harmless.

>>> printable("evil\x1b[2J\u202e.exe")
'evil\\x1b[2J\\u202e.exe'
>>> plural(1, "event"), plural(1200, "event")
('1 event', '1,200 events')
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return *text* with every character that does not print written as its escape.

    These are control and escape characters, line ends, marks that change the writing direction, and surrogates
    without their other half.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def plural(count: int, noun: str) -> str:
    """Return *count* and *noun*."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
