"""A remote thread as a record, by the fields of `etwdetect.results.fields`, and read back from it.

What `from_json` reads is hostile: it may come from anywhere.
"""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.results.fields import FIELDS, NAMES, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etwdetect.results.fields import RecordField

_VALUES: Final = tuple((field.name, field.value()) for field in FIELDS)

_READ: Final = tuple((field, *field.attribute.rpartition(".")[::2]) for field in FIELDS if field.attribute)
"""Each field that is read, the part of a detection that has its attribute, and the attribute's name there."""

_POINTER_SIZES: Final = {len("0x01234567"): 4, len("0x0123456789ABCDEF"): 8}
"""By the length of a StartAddress."""


def to_dict(detection: Detection) -> dict[str, Any]:
    """Return what is known of *detection*, by name, in the order of FIELDS; what is not known is absent."""
    return {name: known for name, value in _VALUES if (known := value(detection)) is not None}


def to_json(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(to_dict(detection))


def from_json(line: str) -> Detection:
    """Return the detection that `to_json` wrote; ValueError, with what is wrong, where it did not.

    Nothing of the line is lost: writing the detection again gives the same fields. Their order and the white
    space between them may differ.
    """
    try:
        known = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at character {error.pos + 1:,}") from error
    except RecursionError as error:
        raise ValueError("not a record of a remote thread: it is nested too deeply") from error
    if not isinstance(known, dict) or "SchemaVersion" not in known:
        raise ValueError("not a record of a remote thread: it has no SchemaVersion")
    version = known["SchemaVersion"]
    if type(version) is int and version > SCHEMA_VERSION:
        raise ValueError(
            f"a record of schema version {reprlib.repr(version)}, which a newer etwdetect wrote; this one reads"
            f" version {SCHEMA_VERSION}"
        )
    detection = _detection(known)
    if to_json(detection) != line:
        json.loads(line, object_pairs_hook=_each_once)
        _check_same(known, to_dict(detection))
    return detection


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("it has a field twice")


def _detection(known: Mapping[str, Any]) -> Detection:
    parts: dict[str, dict[str, Any]] = {"": {}, "thread": {}, "source": {}, "target": {}, "start": {}}
    for field, part, attribute in _READ:
        if field.name in known:
            parts[part][attribute] = _read(field, known[field.name])
        elif field.required:
            raise ValueError(f"{field.name} is missing")
    thread = RemoteThread(**parts["thread"])
    return Detection(
        thread,
        source=Process(thread.creator_pid, **parts["source"]),
        target=Process(thread.pid, **parts["target"]),
        start=Start(**parts["start"]),
        pointer_size=_pointer_size(known.get("StartAddress")),
        **parts[""],
    )


def _read(field: RecordField, value: object) -> Any:  # noqa: ANN401 (any value that a detection can have)
    try:
        return field.codec.read(value)
    except ValueError as error:
        raise ValueError(f"{field.name} is {reprlib.repr(value)}, must be {field.codec.expected}") from error


def _pointer_size(address: str | None) -> int:
    """Return the pointer size in bytes of the machine that *address* is written for."""
    size = 8 if address is None else _POINTER_SIZES.get(len(address))
    if size is None:
        raise ValueError(f"StartAddress is {reprlib.repr(address)}, must be 0x and 8 or 16 hexadecimal digits")
    return size


def _check_same(known: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Raise ValueError unless *written* says the same as *known*, field by field."""
    for name in sorted(known.keys() - set(NAMES)):
        raise ValueError(f"it has the unknown field {reprlib.repr(name)}")
    for name in NAMES:
        if (name in known) != (name in written) or json.dumps(known.get(name)) != json.dumps(written.get(name)):
            is_, must_be = (reprlib.repr(each.get(name, "absent")) for each in (known, written))
            raise ValueError(f"{name} is {is_}, must be {must_be}")
