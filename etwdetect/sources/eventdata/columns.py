"""Events as columns, and back: what `schema` says of a value, done once for equal values or for a column."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from etwdetect.sources.eventdata.schema import BY_NAME, KINDS, READERS, is_range, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.schema import RecordingStart

_SEQ: Final = BY_NAME["seq"].read


def columns_of(events: Sequence[Event | RecordingStart]) -> dict[str, list[Any]]:
    """Return the columns of *events*, all of one kind, as `to_row` has them; None where a value is not known."""
    columns = zip(*events, strict=True)
    return {name: _written(name, values) for name, values in zip(events[0]._fields, columns, strict=True)}


def _written(name: str, values: Sequence[Any]) -> list[Any]:
    write = BY_NAME[name].write
    if write is same:
        return list(values)
    known = {value: write(value) for value in set(values) if value is not None}
    return list(map(known.get, values))


def events_of(columns: Mapping[str, Sequence[Any]]) -> list[Event | RecordingStart]:
    """Return the events of rows of one recording; each of the *columns* has one type, as those of Parquet have.

    ValueError or TypeError where a row is not valid: `from_row` says which one, and why.
    """
    by_kind: dict[Any, list[int]] = {}
    for number, kind in enumerate(columns["kind"]):
        by_kind.setdefault(kind, []).append(number)
    list(_read(columns["seq"], _SEQ, None, needed=True))
    events: list[Any] = [None] * len(columns["kind"])
    for kind, numbers in by_kind.items():
        if kind not in KINDS:
            raise ValueError(f"the unknown kind {kind!r}")
        fields = _fields(kind, columns, numbers)
        for number, event in zip(numbers, map(KINDS[kind], *fields), strict=True):
            events[number] = event
    return events


def _fields(kind: str, columns: Mapping[str, Sequence[Any]], numbers: Sequence[int]) -> Iterable[Iterable[Any]]:
    """Yield the values of each field of the events of *kind*, which stand at *numbers*."""
    pick = itemgetter(*numbers, numbers[0])  # of one index it would return no tuple
    defaults = KINDS[kind]._field_defaults
    missing = (None,) * len(numbers)
    for name, read, needed in READERS[kind]:
        values = pick(columns[name])[:-1] if name in columns else missing
        yield _read(values, read, defaults.get(name), needed=needed)


def _read(values: Sequence[Any], read: Callable[[Any], Any], default: object, *, needed: bool) -> Iterable[Any]:
    if None in values:
        if needed:
            raise ValueError("a value is missing")
    elif is_range(read):
        read(min(values))
        read(max(values))
        return values
    known: dict[Any, Any] = {value: read(value) for value in set(values) if value is not None}
    known[None] = default
    return map(known.__getitem__, values)
