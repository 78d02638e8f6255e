"""The fields of a record, a row for each: what json, csv, sqlite, Spark, Sigma and the report know about them.

The names are those of Sysmon's event 8 and of Sigma's additions to it, and beside them our own;
docs/reference/fields.md lists them. An optional field takes one row here and the attribute that it shows.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core import filetime
from etwdetect.enrich.detection import FiredRule
from etwdetect.enrich.fields import hex_address
from etwdetect.enrich.kind_rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.enrich.detection import Detection, Detector

    JsonValue = str | int | list[str] | dict[str, str] | list[dict[str, Any]]

SCHEMA_VERSION: Final = 2
"""The version of records that are made. A record that was read is written with its own again."""

_MAX_ID: Final = 0xFFFFFFFF
_MAX_UINT64: Final = (1 << 64) - 1
_MAX_COUNT: Final = (1 << 53) - 1
"""The largest number that every JSON reader keeps exactly."""


class FieldType(Enum):
    """What a field's value is in json."""

    NUMBER = "number"
    FILETIME = "FILETIME"
    """A number of 64 bits, in json decimal text: many JSON readers lose digits of so large a number."""
    TEXT = "text"
    TEXTS = "list of texts"
    REASONS = "texts by name"
    RULES = "list of Sigma rules"

    @property
    def is_number(self) -> bool:
        """Whether tables hold it as a number."""
        return self in {FieldType.NUMBER, FieldType.FILETIME}


class Codec(NamedTuple):
    """How an attribute of a detection becomes a value of json, and is read again.

    *write* returns None where the field is to be absent; None instead of a function: the attribute as it is.
    *read* raises ValueError where the value is not *expected*.
    """

    type: FieldType
    expected: str
    read: Callable[[Any], Any]
    write: Callable[[Any], JsonValue | None] | None = None


class RecordSource(Enum):
    """What detects remote threads; the value is what messages call it."""

    KERNEL_LOGGER = "a trace of the NT Kernel Logger"
    KERNEL_PROCESS = "a trace of Microsoft-Windows-Kernel-Process"
    LIVE = "a live session"
    DRIVER = "the driver"
    SYSMON = "Sysmon"


class Availability(Enum):
    """Whether the records of a source have a field."""

    YES = "yes"
    PARTLY = "partly"  # of some processes; docs/reference/sigma-fields.md says of which
    NO = "no"


_Y, _P, _N = Availability

# By source: kernel logger, Kernel-Process, live session, driver, Sysmon.
ALWAYS: Final = (_Y, _Y, _Y, _Y, _Y)
_HOST: Final = (_P, _N, _Y, _Y, _Y)
_CREATOR: Final = (_Y, _Y, _Y, _Y, _N)
_GUID_KNOWN: Final = (_P, _P, _Y, _P, _Y)
_IMAGE: Final = (_P, _P, _Y, _P, _Y)
_PROCESS: Final = (_Y, _P, _Y, _P, _P)
_BIRTH: Final = (_P, _P, _Y, _P, _P)
_COMMAND_LINE: Final = (_Y, _N, _P, _P, _P)
_ADDRESS: Final = (_Y, _Y, _Y, _N, _Y)
_MODULE: Final = (_Y, _P, _Y, _N, _Y)
_SYSMON_ONLY: Final = (_N, _N, _N, _N, _P)
_OFFSET: Final = (_Y, _P, _Y, _N, _N)
_CONTAINER: Final = (_N, _P, _N, _N, _N)
_ASSUMED: Final = (_P, _P, _N, _N, _N)
_CALLS: Final = (_P, _P, _N, _N, _N)
_FUNCTION: Final = (_P, _P, _Y, _N, _Y)

_CLASSIC: Final = frozenset(("classic",))
_TEXTUAL: Final = _CLASSIC | {"text"}
_SYSMON_FORMS: Final = frozenset(("sysmon", "sysmon-event"))
_SYSMON: Final = _CLASSIC | _SYSMON_FORMS
_NARROW: Final = _TEXTUAL | _SYSMON_FORMS


class RecordField(NamedTuple):
    """One field of a record.

    *attribute* is where `Detection` has it (``source.image``), empty where it is only computed; *compute* returns
    its value where that takes more than the attribute. *available* says for each `RecordSource`, in their order,
    whether its records have the field; None where no Sigma rule can ask for it. *left_out_by* names the formats
    that don't carry it. *required* fields are in every record; those of the detectors in *optional_for* can lack
    them. *extension* fields have no place in other vendors' schemas and keep our name there. *absent_text* stands
    for a missing one in Sysmon's data.
    """

    name: str
    codec: Codec
    attribute: str = ""
    available: tuple[Availability, ...] | None = ALWAYS
    left_out_by: frozenset[str] = frozenset()
    required: bool = False
    optional_for: tuple[Detector, ...] = ()
    extension: bool = False
    absent_text: str = "-"
    compute: Callable[[Detection], JsonValue | None] | None = None

    @property
    def type(self) -> FieldType:
        """What its value is in json."""
        return self.codec.type

    def value(self) -> Callable[[Detection], JsonValue | None]:
        """Return the function that takes its value from a detection; None where that is not known."""
        if self.compute is not None:
            return self.compute
        get: Callable[[Detection], Any] = attrgetter(self.attribute)
        write = self.codec.write
        if write is None:
            return get

        def written(detection: Detection) -> JsonValue | None:
            value = get(detection)
            return None if value is None else write(value)

        return written


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 (a value of json, not of the caller)
    return value


def _number(least: int, most: int) -> Callable[[Any], int]:
    def read(value: object) -> int:
        if type(value) is not int or not least <= value <= most:  # a bool is not a number
            raise ValueError("not such a number")
        return value

    return read


def _digits(base: int) -> Callable[[Any], int]:
    def read(value: object) -> int:
        number = int(_text(value), base)
        if not 0 <= number <= _MAX_UINT64:
            raise ValueError("not in 64 bits")
        return number

    return read


def _moment(value: object) -> int:
    time = _digits(10)(value)
    try:
        filetime.utc(time)
    except OverflowError as error:
        raise ValueError("past the year 9999") from error
    return time


def _detector(value: object) -> str:
    if value not in ("etw", "driver", "sysmon"):
        raise ValueError("unknown")
    return _text(value)


def _sha256(value: object) -> str:
    text = _text(value)
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise ValueError("not such digits")
    return text


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004
    return tuple(map(_text, value))


def _reasons(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return tuple((name, _text(why)) for name, why in value.items())


_RULE_KEYS: Final = {
    "Title": (_text, ""),
    "Id": (_text, ""),
    "Level": (_text, ""),
    "Tags": (_texts, []),
    "References": (_texts, []),
}
"""The attributes of a FiredRule by their names in json: how each is read, and what stands for a missing one."""


def _rules(value: object) -> tuple[FiredRule, ...]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004
    return tuple(map(_rule, value))


def _rule(value: object) -> FiredRule:
    if not isinstance(value, dict) or "Title" not in value or not value.keys() <= _RULE_KEYS.keys():
        raise ValueError("not a rule")
    values: list[Any] = [read(value.get(key, missing)) for key, (read, missing) in _RULE_KEYS.items()]
    return FiredRule(*values)


def _rules_as_json(rules: tuple[FiredRule, ...]) -> list[dict[str, Any]] | None:
    return [_rule_as_json(rule) for rule in rules] or None


def _rule_as_json(rule: FiredRule) -> dict[str, Any]:
    values = (
        (key, list(each) if isinstance(each, tuple) else each) for key, each in zip(_RULE_KEYS, rule, strict=True)
    )
    return {key: value for key, value in values if value or key == "Title"}


def braced(guid: str) -> str:
    """Return *guid* as Sysmon writes it."""
    return f"{{{guid}}}"


def start_address(detection: Detection) -> str | None:
    """Return where the thread starts: ``0x`` and upper-case hex digits, 8 or 16 by the machine's pointer size."""
    return hex_address(detection.thread.start_address, detection.pointer_size)


def _utc_time(detection: Detection) -> str:
    return filetime.full_time(filetime.utc(detection.thread.time))


def _schema_version(detection: Detection) -> int:
    return SCHEMA_VERSION if detection.saved is None else detection.saved.version


def record_id(detection: Detection) -> str:
    """Return the RecordId: 32 hexadecimal digits, the same for the same remote thread whenever it is found."""
    if detection.saved is not None and detection.saved.record_id is not None:
        return detection.saved.record_id
    thread = detection.thread
    ids = thread.creator_pid, thread.creator_tid, thread.pid, thread.tid
    told = json.dumps([detection.host, str(thread.time), *ids, detection.detector], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def sigma_level(detection: Detection) -> str | None:
    """Return the highest level of the Sigma rules that fired; None where none has one."""
    levels = {rule.level for rule in detection.sigma_rules}
    return next((level for level in SEVERITIES if level in levels), None)


def _repeats(count: int) -> int | None:
    return count if count > 1 else None


_TEXT: Final = Codec(FieldType.TEXT, "text", _text)
_ID: Final = Codec(FieldType.NUMBER, f"a number from 0 to {_MAX_ID:,}", _number(0, _MAX_ID))
_COUNT: Final = Codec(FieldType.NUMBER, f"a number from 2 to {_MAX_COUNT:,}", _number(0, _MAX_COUNT), _repeats)
_FILETIME: Final = Codec(FieldType.FILETIME, "a number of 64 bits as decimal text", _digits(10), str)
_MOMENT: Final = Codec(FieldType.FILETIME, "a FILETIME before the year 10000 as decimal text", _moment, str)
_HEX: Final = Codec(FieldType.TEXT, "0x and hexadecimal digits", _digits(16), lambda number: f"0x{number:X}")
_GUID: Final = Codec(FieldType.TEXT, "a GUID in braces", lambda value: _text(value)[1:-1], braced)
_SHA256: Final = Codec(FieldType.TEXT, "64 hexadecimal digits in lower case", _sha256)
_DETECTOR: Final = Codec(FieldType.TEXT, "etw, driver or sysmon", _detector)
_TEXTS: Final = Codec(FieldType.TEXTS, "a list of texts", _texts, list)
_TEXTS_IF_ANY: Final = Codec(FieldType.TEXTS, "a list of texts", _texts, lambda texts: list(texts) or None)
_RULES: Final = Codec(FieldType.RULES, "a list of rules with a Title", _rules, _rules_as_json)
_REASONS: Final = Codec(FieldType.REASONS, "an object of texts", _reasons, lambda pairs: dict(pairs) or None)
_VERSION: Final = Codec(FieldType.NUMBER, f"a number from 1 to {SCHEMA_VERSION}", _number(1, SCHEMA_VERSION))

_NO_GUID: Final = "{00000000-0000-0000-0000-000000000000}"
_NO_IMAGE: Final = "<unknown process>"


def _process_fields(side: str, pid: str) -> tuple[RecordField, ...]:
    """Return the fields of the process on *side*, whose id is the attribute *pid* of the remote thread."""
    of = side.lower()
    return (
        RecordField(f"{side}ProcessGuid", _GUID, f"{of}.guid", _GUID_KNOWN, _TEXTUAL, absent_text=_NO_GUID),
        RecordField(f"{side}ProcessId", _ID, f"thread.{pid}", required=True),
        RecordField(f"{side}Image", _TEXT, f"{of}.image", _IMAGE, _CLASSIC, absent_text=_NO_IMAGE),
        RecordField(f"{side}CommandLine", _TEXT, f"{of}.command_line", _COMMAND_LINE, _NARROW),
        RecordField(f"{side}User", _TEXT, f"{of}.user", _COMMAND_LINE, _TEXTUAL),
        RecordField(f"{side}TerminalSessionId", _ID, f"{of}.session_id", _PROCESS, _NARROW),
        RecordField(f"{side}StartTime", _FILETIME, f"{of}.start_time", _BIRTH, _NARROW),
        RecordField(f"{side}ParentProcessId", _ID, f"{of}.parent_pid", _PROCESS, _NARROW),
        RecordField(f"{side}ParentImage", _TEXT, f"{of}.parent_image", _PROCESS, _NARROW),
        RecordField(f"{side}ParentCommandLine", _TEXT, f"{of}.parent_command_line", _COMMAND_LINE, _NARROW),
    )


_SOURCE: Final = _process_fields("Source", "creator_pid")
_TARGET: Final = _process_fields("Target", "pid")

FIELDS: Final = (
    RecordField(
        "SchemaVersion", _VERSION, "", ALWAYS, _NARROW | {"ecs", "ocsf"}, required=True, compute=_schema_version
    ),
    RecordField("RecordId", _TEXT, "", None, _NARROW, compute=record_id),
    RecordField("Detector", _DETECTOR, "detector", ALWAYS, _NARROW, required=True, extension=True),
    RecordField("Computer", _TEXT, "host", _HOST, _TEXTUAL),
    RecordField("Trace", _TEXT, "trace", None, _NARROW),
    RecordField("TraceSha256", _SHA256, "trace_sha256", None, _NARROW, extension=True),
    RecordField("Time", _MOMENT, "thread.time", required=True, extension=True),
    RecordField("UtcTime", _TEXT, "", required=True, compute=_utc_time),
    *_SOURCE[:2],
    RecordField(
        "SourceThreadId",
        _ID,
        "thread.creator_tid",
        _CREATOR,
        _SYSMON_FORMS,
        required=True,
        optional_for=("sysmon",),
    ),
    *_SOURCE[2:],
    *_TARGET,
    RecordField("NewThreadId", _ID, "thread.tid", required=True),
    RecordField("StartAddress", _HEX, "thread.start_address", _ADDRESS, _CLASSIC, compute=start_address),
    RecordField("StartModule", _TEXT, "start.module", _MODULE, _CLASSIC),
    RecordField("StartModuleOffset", _HEX, "start.offset", _OFFSET, _SYSMON, extension=True),
    RecordField("StartFunction", _TEXT, "start.function", _FUNCTION, _CLASSIC),
    RecordField("CallTrace", _TEXT, "calls.trace", _CALLS, _NARROW | {"syslog"}, extension=True),
    RecordField("CallKernel", _TEXT, "calls.kernel", _CALLS, _NARROW | {"syslog"}, extension=True),
    RecordField("CallSummary", _TEXT, "calls.summary", _CALLS, _NARROW, extension=True),
    RecordField("CallSymbols", _TEXT, "calls.symbols", _CALLS, _NARROW | {"syslog"}, extension=True),
    RecordField("Container", _TEXT, "container", _CONTAINER, _NARROW, extension=True),
    RecordField("AssumedDrive", _TEXT, "assumed_drive", _ASSUMED, _NARROW, extension=True),
    RecordField("Kind", _TEXT, "kind", ALWAYS, _SYSMON, extension=True),
    RecordField("KindReason", _TEXT, "reason", ALWAYS, _NARROW | {"syslog"}, extension=True),
    RecordField("Severity", _TEXT, "severity", ALWAYS, _SYSMON, extension=True),
    RecordField("AttackTechniques", _TEXTS_IF_ANY, "techniques", None, _NARROW, extension=True),
    RecordField("RuleName", _TEXT, "rule_name", _SYSMON_ONLY, _TEXTUAL, extension=True),
    RecordField("PriorAccess", _REASONS, "prior_access", None, _NARROW | {"syslog"}, extension=True),
    RecordField("Sigma", _TEXTS_IF_ANY, "sigma", None, _CLASSIC, extension=True),
    RecordField("SigmaLevel", _TEXT, "", None, _SYSMON, extension=True, compute=sigma_level),
    RecordField("SigmaRules", _RULES, "sigma_rules", None, _NARROW, extension=True),
    RecordField("Count", _COUNT, "count", None, _SYSMON, extension=True),
    RecordField("LastTime", _MOMENT, "last_time", None, _SYSMON, extension=True),
    RecordField("Evidence", _TEXTS, "thread.evidence", ALWAYS, _SYSMON, required=True, extension=True),
    RecordField("Absent", _REASONS, "absent", None, _NARROW | {"syslog"}, extension=True),
)
"""Every field there can be, in the order in which all formats write them."""

NAMES: Final = tuple(field.name for field in FIELDS)
BY_NAME: Final = {field.name: field for field in FIELDS}

PROCESS_ATTRIBUTES: Final = {
    field.name.removeprefix("Source"): field.attribute.removeprefix("source.")
    for field in _SOURCE
    if field.attribute.startswith("source.")
}
"""The attributes of a `Process` by the names of their fields, without the prefix Source or Target."""
