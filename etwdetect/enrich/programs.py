r"""Which image is a process's program: the kernel's short name of a process, and the path of an image, compared.

The kernel's name is a bare one, may be cut, and has the bytes of a code page that no event names. Its bytes beyond
ASCII were decoded to escapes: ``\xef\xf0\xee\xe3.exe``.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NTDLL: Final = "\\ntdll.dll"
"""How the path of the image ends that is mapped second into every process, right after its program."""

_ESCAPED: Final = r"\\x(?:[89a-f][0-9a-f]|5c)"
_ESCAPE: Final = re.compile(_ESCAPED)
_WITHOUT_PROGRAM: Final = frozenset(("Idle", "System", "Secure System", "Registry", "MemCompression", "vmmem"))
"""The processes that run no program, so that their names are all that there is."""
_BARE: Final = re.compile(rf"(?:[^\\:]|{_ESCAPED})*", re.DOTALL)

_SHORT_NAME: Final = 14
"""The number of bytes from which a name may be cut: kernels keep 14 or 15."""

_CODE_PAGES: Final = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("cp874", "cp932", "cp936", "cp949", "cp950", "utf-8"),
)
"""The ANSI code pages of Windows, and UTF-8, which it can be set to."""

_VOLUME: Final = re.compile(
    r"(?:\\\?\?\\)?(?:[a-z]:|\\device\\[^\\]+(?:(?:\\[^\\;]+)?\\;[^\\]+)?)?", re.IGNORECASE
)
"""A drive or a volume before a path, and of a share the redirector and the drive: ``\\DfsClient\\;Z:00020d40``."""

_SYSTEM_ROOT: Final = "\\systemroot\\"

_LONGEST: Final = 1024
"""The most characters of a name that are decoded: kernels keep 15 bytes, an escape has four characters."""

_ORDINARY: Final = 260
"""Longer paths are not cached."""

_PAIRS: Final = re.compile("[\U00010000-\U0010ffff]")
_UNMAPPABLE: Final = "?"
"""What Windows writes for a character that its code page lacks; no file name has one."""


def is_bare(name: str) -> bool:
    r"""Whether *name* is a file's name without a path; escapes are no path.

    >>> is_bare("\\xef\\xf0.exe"), is_bare("\\Users\\xef.exe"), is_bare("C:\\a.exe")
    (True, False, False)
    """
    return "\\" not in name or _BARE.fullmatch(name) is not None


def lacks_path(name: str) -> bool:
    """Whether *name* is that of a program, which has a path, without it.

    >>> lacks_path("csrss.exe"), lacks_path("System")
    (True, False)
    """
    return is_bare(name) and name not in _WITHOUT_PROGRAM


def may_be_cut(name: str) -> bool:
    """Whether *name*, a bare one, is so long that its end can be missing.

    >>> may_be_cut("SearchProtocol"), may_be_cut("powershell.exe")
    (True, False)
    """
    return len(name) >= _SHORT_NAME and not name.lower().endswith(".exe")


def file_name(path: str) -> str:
    r"""Return the last part of a Windows *path*, or the whole path if that is empty.

    >>> file_name("C:\\Windows\\a.exe"), file_name("\\xe4.exe")
    ('a.exe', '\\xe4.exe')
    """
    return path if is_bare(path) else path.rpartition("\\")[2] or path


def _lower_name(path: str) -> str:
    """Return the last part of *path* in lower case."""
    return _lower_name_of(path) if len(path) <= _ORDINARY else _lower(file_name(path))


@lru_cache(maxsize=4096)
def _lower_name_of(path: str) -> str:
    """Return the same; one image is mapped by many processes."""
    return _lower(file_name(path))


def _lower(text: str) -> str:
    """Return *text* in lower case, each letter as it is alone: Python has another sigma for the end of a word."""
    return text.lower().replace("\u03c2", "\u03c3")


def fits(name: str, path: str) -> bool:
    r"""Whether the image at *path* can be what a process called *name*, a bare name, runs.

    >>> fits("\\xef\\xf0\\xee\\xe3.exe", "\\Device\\HarddiskVolume3\\\u043f\u0440\u043e\u0433.exe")
    True
    >>> fits("SearchProtocol", "\\Device\\HarddiskVolume3\\Windows\\System32\\SearchProtocolHost.exe")
    True
    """
    file = _lower(path.rpartition("\\")[2])
    if name.isascii() and "\\" not in name and _UNMAPPABLE not in name:
        return _is_name(name.lower(), file, cut=len(name) >= _SHORT_NAME)
    texts, cut = _texts(name)
    file = _units(file)
    return any(_is_name(text, file, cut=cut) for text in texts)


def _is_name(text: str, file: str, *, cut: bool) -> bool:
    """Whether *text*, or with *cut* a text that begins with it, is the name *file*."""
    if file == text or (cut and file.startswith(text)):
        return True
    if _UNMAPPABLE not in text or len(file) < len(text) or (len(file) > len(text) and not cut):
        return False
    return all(one == other or (one == _UNMAPPABLE and other > "\x7f") for one, other in zip(text, file))  # noqa: B905


@lru_cache(maxsize=256)
def _texts(name: str) -> tuple[frozenset[str], bool]:
    """Return the texts, in lower case, that the kernel's *name* can stand for, and whether they may be cut."""
    try:
        data = _ESCAPE.sub(lambda escape: chr(int("0" + escape[0][1:], 0)), name[:_LONGEST]).encode("latin-1")
    except UnicodeEncodeError:  # a name that was not in a code page
        return frozenset((_units(_lower(name)),)), len(name) >= _SHORT_NAME
    cut = len(data) >= _SHORT_NAME
    texts = (_decoded(data, page, cut=cut) for page in _CODE_PAGES)
    return frozenset(_units(_lower(text)) for text in texts if text is not None), cut


def _decoded(data: bytes, page: str, *, cut: bool) -> str | None:
    """Return *data* in the code page *page*, without a last character that is *cut*; None if it is not valid."""
    try:
        return codecs.getincrementaldecoder(page)().decode(data, final=not cut)
    except UnicodeDecodeError:
        return None


def _units(text: str) -> str:
    """Return *text* with two characters for each that has two units in UTF-16: code pages treat them apart."""
    return _PAIRS.sub(r"\g<0>\g<0>", text)


def is_same_program(one: str | None, other: str | None) -> bool:
    """Whether two names of a process, each bare or a path, can be of one program; an unknown one can be any."""
    if not one or not other or one == other:
        return True
    short, long = sorted((_lower_name(one), _lower_name(other)), key=len)
    if short == long:
        return True
    if is_bare(one) and is_bare(other) and len(short) >= _SHORT_NAME and long.startswith(short):
        return True
    # What a kernel makes of letters that its code page lacks is not known for sure.
    pairs = ((name, path) for name, path in ((one, other), (other, one)) if is_bare(name))
    return any(fits(name, path) or not file_name(path).isascii() for name, path in pairs)


def namesakes(path: str, others: Iterable[str]) -> list[str]:
    r"""Return which of *others* are different files with the name of *path*; volumes are not compared.

    >>> namesakes("C:\\Windows\\a.exe", ["\\Device\\HarddiskVolume3\\Windows\\A.exe"])
    []
    >>> namesakes("C:\\Windows\\a.exe", ["\\Device\\HarddiskVolume3\\Users\\a.exe", "C:\\Windows\\b.exe"])
    ['\\Device\\HarddiskVolume3\\Users\\a.exe']
    >>> namesakes("\\Device\\Mup\\host\\a.exe", ["\\Device\\Mup\\DfsClient\\;Z:00020d40\\host\\a.exe"])
    []
    """
    name = _lower_name(path)
    return [other for other in others if _lower_name(other) == name and _inside(other) != _inside(path)]


def _inside(path: str) -> str:
    """Return *path* on its volume, in lower case."""
    inside = _lower(_VOLUME.sub("", path, count=1))
    return f"\\windows\\{inside.removeprefix(_SYSTEM_ROOT)}" if inside.startswith(_SYSTEM_ROOT) else inside
