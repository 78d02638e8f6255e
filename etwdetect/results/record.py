"""A remote thread as a record, by the fields of `etwdetect.results.fields`, and read back from it.

What `from_json` reads is hostile: it may come from anywhere.
"""

from __future__ import annotations

import json
import reprlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Calls, Detection, Process, SavedForm, Start, UnknownField
from etwdetect.results.fields import BY_NAME, FIELDS, NAMES, SCHEMA_VERSION, record_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    known, saved = _written(detection), detection.saved
    if saved is None or not saved.unknown:
        return json.dumps(known)
    behind: defaultdict[str, list[str]] = defaultdict(list)
    for field in saved.unknown:
        behind[field.after].append(f"{json.dumps(field.name)}: {field.value}")
    fields = behind[""]
    for name in NAMES:
        if name in known:
            fields.append(f"{json.dumps(name)}: {json.dumps(known[name])}")
        fields += behind[name]
    return f"{{{', '.join(fields)}}}"


def _written(detection: Detection) -> dict[str, Any]:
    """Return the known fields as json has them: a record that was read without a RecordId gets none."""
    known = to_dict(detection)
    if detection.saved is not None and detection.saved.record_id is None:
        del known["RecordId"]
    return known


def from_json(line: str) -> Detection:
    """Return the detection that `to_json` wrote; ValueError, with what is wrong, where it did not.

    Nothing of the line is lost: writing the detection again gives the same version and the same fields, also
    those that this version does not know. The order of known fields and the white space may differ.
    """
    try:
        return _from_json(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at character {error.pos + 1:,}") from error
    except RecursionError as error:
        raise ValueError("not a record of a remote thread: it is nested too deeply") from error


def _from_json(line: str) -> Detection:
    known = json.loads(line)
    if not isinstance(known, dict) or "SchemaVersion" not in known:
        raise ValueError("not a record of a remote thread: it has no SchemaVersion")
    version = known["SchemaVersion"]
    if type(version) is int and version > SCHEMA_VERSION:
        raise ValueError(
            f"a record of schema version {reprlib.repr(version)}, which a newer etwdetect wrote; this one reads"
            f" up to {SCHEMA_VERSION}"
        )
    detection = _detection(known)
    if to_json(detection) != line:
        json.loads(line, object_pairs_hook=_each_once)
        _check_same(known, _written(detection))
    return detection


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("it has a field twice")


def _detection(known: Mapping[str, Any]) -> Detection:
    version = _read(BY_NAME["SchemaVersion"], known["SchemaVersion"])
    parts: dict[str, dict[str, Any]] = {
        "": {},
        "thread": {"creator_tid": None},
        "source": {},
        "target": {},
        "start": {},
        "calls": {},
    }
    for field, part, attribute in _READ:
        if field.name in known:
            parts[part][attribute] = _read(field, known[field.name])
        elif field.required and known.get("Detector") not in field.optional_for:
            raise ValueError(f"{field.name} is missing")
    thread = RemoteThread(**parts["thread"])
    detection = Detection(
        thread,
        source=Process(thread.creator_pid, **parts["source"]),
        target=Process(thread.pid, **parts["target"]),
        start=Start(**parts["start"]),
        calls=Calls(**parts["calls"]),
        pointer_size=_pointer_size(known.get("StartAddress")),
        **parts[""],
    )
    written_id = _read(BY_NAME["RecordId"], known["RecordId"]) if "RecordId" in known else None
    saved = SavedForm(version, written_id, tuple(_unknown(known)))
    if saved == (SCHEMA_VERSION, record_id(detection), ()):
        return detection
    return replace(detection, saved=saved)


def _unknown(known: Mapping[str, Any]) -> Iterator[UnknownField]:
    after = ""
    for name, value in known.items():
        if name in BY_NAME:
            after = name
        else:
            yield UnknownField(after, name, json.dumps(value))


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
    for name in NAMES:
        if (name in known) != (name in written) or json.dumps(known.get(name)) != json.dumps(written.get(name)):
            is_, must_be = (reprlib.repr(each.get(name, "absent")) for each in (known, written))
            raise ValueError(f"{name} is {is_}, must be {must_be}")
