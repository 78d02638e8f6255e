"""Events as lines of JSON: what `to_row` says of them, rendered by a template for each kind."""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any, Final

from etwdetect.sources.eventdata.schema import (
    BY_NAME,
    KINDS,
    OLDEST_VERSION,
    VERSIONS,
    same,
    write_address,
    write_name,
    written_recording,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.schema import Column, Recording, RecordingStart

_SHORT: Final = 260
"""Longer names, in characters, are not remembered."""


def _rendering(column: Column) -> Callable[[Any], object] | None:
    """Return the function that makes what `to_line` writes for a value of *column*; None for the value itself."""
    write = column.write
    if write is write_name:
        return _rendered_name
    if column.type == "string" and write is not write_address:
        return lambda value: _quoted(write(value))
    if column.type == "bool":
        return ("false", "true").__getitem__
    return None if write in {same, write_address} else write


def _rendered_name(value: str) -> str:
    return _short_name(value) if len(value) <= _SHORT else _quoted(write_name(value))


@lru_cache(maxsize=4096)
def _short_name(value: str) -> str:
    """Return the JSON of a name: one image is mapped by many processes."""
    return _quoted(write_name(value))


@lru_cache(maxsize=256)
def _line(kind: Any, known: tuple[bool, ...]) -> str:  # noqa: ANN401 (a class of KINDS)
    """Return the line of *kind* behind its number, with a place for each value that is *known*."""
    columns = [BY_NAME[name] for name, is_known in zip(kind._fields, known, strict=True) if is_known]
    places = (f'"{each.name}":' + ('"0x%X"' if each.write is write_address else "%s") for each in columns)
    return f',"kind":"{kind.__name__}",{",".join(places)}}}\n'


@lru_cache(maxsize=4)
def _head(recording: Recording, version: int) -> str:
    """Return how each line of *recording* with the schema's *version* begins, up to its number."""
    host, name = map(_quoted, written_recording(recording).values())
    return f'{{"schema_version":{version},"host":{host},"recording":{name},"seq":'


_LINES: Final = {
    kind: (
        VERSIONS.get(kind, OLDEST_VERSION),
        [(at, render) for at, name in enumerate(kind._fields) if (render := _rendering(BY_NAME[name]))],
        _line(kind, (True,) * len(kind._fields)),
    )
    for kind in KINDS.values()
}
"""By kind: its version, the fields whose values are replaced and with what, and its line if all are known."""


def to_line(recording: Recording, seq: int, event: Event | RecordingStart) -> str:
    """Return what JSON makes of `to_row`, without blanks and with the end of the line; KeyError as it."""
    kind: Any = type(event)
    version, renderings, line = _LINES[kind]
    values: list[Any] = list(event)
    for at, render in renderings:
        if values[at] is not None:
            values[at] = render(values[at])
    if None in values:
        line = _line(kind, tuple(value is not None for value in values))
        values = [value for value in values if value is not None]
    return f"{_head(recording, version)}{seq}{line % tuple(values)}"
