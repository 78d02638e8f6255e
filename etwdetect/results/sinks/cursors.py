"""How far each receiver of a spool is: FILE.cursor, beside it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.files import read_file
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST_BYTES: Final = 1 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}|")


class Position(NamedTuple):
    """A place behind a line: the digest of the file's first line, and how many bytes lie before.

    Without a digest it is the beginning of the oldest file. A file's name is no help: rotation changes it.
    """

    file: str = ""
    offset: int = 0


class Cursors:
    """How far the receivers are, in the file at *path*, which is replaced as a whole."""

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.damaged = False
        """Whether there was a file that cannot be used."""
        self._path = path
        self._notify = notify
        self._lock = threading.Lock()
        self._told = False
        self._entries: dict[str, Any] = {}
        try:
            self._entries = _entries(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._notify(printable(f"{path} cannot be used ({reason}): all that is in the output is sent again"))
            self.damaged = True

    def cursor(self, url: str, receiver: str) -> Cursor:
        """Return the cursor of the receiver at *url*, which is called *receiver*."""
        return Cursor(self, hashlib.sha256(url.encode()).hexdigest()[:16], receiver)

    def get(self, key: str) -> Position | None:
        """Return the position with this *key*; None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None else Position(entry["file"], entry["offset"])

    def set(self, key: str, receiver: str, position: Position) -> None:
        """Write the position of *receiver*, with this *key*; tell once where that cannot be done."""
        with self._lock:
            self._entries[key] = {"receiver": receiver, **position._asdict()}
            new = self._path.with_name(f"{self._path.name}.new")
            try:
                new.write_text(json.dumps(self._entries, indent=1) + "\n", encoding="utf-8")
                new.replace(self._path)
            except OSError as error:
                if not self._told:
                    self._told = True
                    self._notify(printable(f"{self._path} cannot be written: {error.strerror}"))


class Cursor:
    """How far *receiver* is; its entry in *cursors* has this *key*."""

    def __init__(self, cursors: Cursors, key: str, receiver: str) -> None:
        self.receiver = receiver
        self.position = cursors.get(key)
        """None where it has none yet."""
        self.must_repeat = cursors.damaged
        """Whether a receiver without a position gets all there is."""
        self._cursors = cursors
        self._key = key

    def move(self, position: Position) -> None:
        """Write that the receiver is at *position*."""
        if position != self.position:
            self.position = position
            self._cursors.set(self._key, self.receiver, position)


def _entries(path: Path) -> dict[str, Any]:
    """Return the content of the cursor file at *path*; OSError or ValueError where it cannot be used."""
    data = read_file(path, _MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"a cursor file has at most {_MOST_BYTES:,} bytes")
    entries = json.loads(data)
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise ValueError("not a valid cursor file")
    return entries


def _is_entry(entry: object) -> bool:
    match entry:
        case {"file": str(file), "offset": int(offset), "receiver": str()} if type(offset) is int:
            return _DIGEST.fullmatch(file) is not None and 0 <= offset < 1 << 63
    return False
