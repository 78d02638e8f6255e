"""What Sysmon's configuration says about event 8: which remote threads it does not log.

A filter on a field of which another witness does not know what Sysmon has there neither fits nor fails: None.

The form is documented at https://learn.microsoft.com/sysinternals/downloads/sysmon#configuration-files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.files import read_file
from etwdetect.enrich.absent import NO_EXPORT, OUTSIDE
from etwdetect.enrich.paths import on_its_volume
from etwdetect.results.fields import BY_NAME
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from etwdetect.enrich.detection import Detection

_EVENT: Final = "CreateRemoteThread"
_MOST: Final = 16 << 20

_SAME: Final = ("SourceProcessId", "TargetProcessId", "NewThreadId", "StartAddress", "StartFunction")
_PATHS: Final = ("SourceImage", "TargetImage", "StartModule")
_USERS: Final = ("SourceUser", "TargetUser")
"""Times and ProcessGuids are Sysmon's own, and so is RuleName: no other witness knows them."""


def _parts(value: str) -> list[str]:
    return [part for part in (each.strip() for each in value.split(";")) if part]


def _file_name(path: str) -> str:
    return path.rpartition("\\")[2]


def _any(fits: Iterable[bool | None]) -> bool | None:
    told = set(fits)
    return True if True in told else None if None in told else False


def _all(fits: Iterable[bool | None]) -> bool | None:
    told = set(fits)
    return False if False in told else None if None in told else True


_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "is": lambda text, value: text == value,
    "contains": lambda text, value: value in text,
    "begin with": lambda text, value: text.startswith(value),
    "end with": lambda text, value: text.endswith(value),
    "less than": lambda text, value: text < value,
    "more than": lambda text, value: text > value,
    "image": lambda text, value: text == value if "\\" in value else _file_name(text) == value,
}
"""Each compares lower-case texts."""


class _Condition(NamedTuple):
    """A test, of the whole value or *over* its parts, and whether it is to fail."""

    test: str
    over: Callable[[Iterable[bool | None]], bool | None] | None = None
    negated: bool = False


_CONDITIONS: Final[Mapping[str, _Condition]] = {
    **{test: _Condition(test) for test in _TESTS},
    "is any": _Condition("is", _any),
    "is not": _Condition("is", negated=True),
    "contains any": _Condition("contains", _any),
    "contains all": _Condition("contains", _all),
    "excludes": _Condition("contains", negated=True),
    "excludes any": _Condition("contains", _all, negated=True),
    "excludes all": _Condition("contains", _any, negated=True),
    "not begin with": _Condition("begin with", negated=True),
    "not end with": _Condition("end with", negated=True),
}


class _Known(NamedTuple):
    """The lower-case text that Sysmon has in a field; where not the *whole* of it is known, how it ends."""

    text: str
    whole: bool = True

    def passes(self, test: str, value: str) -> bool | None:
        """Return whether the field passes *test*; None where what is known does not tell."""
        fits = _TESTS[test](self.text, value)
        if self.whole or (test == "image" and "\\" not in value):
            return fits
        if fits and test in {"contains", "end with"}:
            return True
        cannot = test in {"is", "image", "end with"} and not value.endswith(self.text)
        return False if cannot else None


def _as_sysmon_writes(detection: Detection) -> dict[str, _Known]:
    """Return the fields of event 8 of which another witness knows what Sysmon has there, or how it ends."""
    values = {name: str(value) for name, value in to_dict(detection).items()}
    known: dict[str, _Known] = {name: _Known(values[name].lower()) for name in _SAME if name in values}
    known |= {name: _path(values[name]) for name in _PATHS if name in values}
    users = {name: values[name] for name in _USERS if "\\" in values.get(name, "")}  # else a SID
    known |= {name: _Known(user.lower()) for name, user in users.items()}
    nothing = {name for name, why in detection.absent if why in {OUTSIDE, NO_EXPORT}}
    return known | {name: _Known(BY_NAME[name].absent_text) for name in nothing}


def _path(path: str) -> _Known:
    r"""Return what is known of *path* in Sysmon's form, with a drive or a server.

    >>> _path("C:\\Windows\\System32\\csrss.exe").whole
    True
    >>> _path("\\Device\\HarddiskVolume3\\Windows\\System32\\csrss.exe")
    _Known(text='\\windows\\system32\\csrss.exe', whole=False)
    >>> _path("csrss.exe")
    _Known(text='\\csrss.exe', whole=False)
    """
    if path[1:3] == ":\\" or path.startswith("\\\\"):
        return _Known(path.lower())
    ending = on_its_volume(path)
    if ending is None or ending == path:
        name = _file_name(path)
        ending = f"\\{name}" if "." in name else name  # System and Registry are in no folder
    return _Known(ending.lower(), whole=False)


class _Filter(NamedTuple):
    """A condition on one field of event 8."""

    field: str
    condition: str
    value: str

    def fits(self, known: Mapping[str, _Known]) -> bool | None:
        field, value = known.get(self.field), self.value.lower()
        if field is None:
            return None
        test, over, negated = _CONDITIONS[self.condition]
        fits = over(field.passes(test, part) for part in _parts(value)) if over else field.passes(test, value)
        return not fits if negated and fits is not None else fits

    def __str__(self) -> str:
        return f"{self.field} {self.condition} {self.value}"


class _Group(NamedTuple):
    """Filters and groups of them, of which all that are about different fields must fit, or any."""

    all_of: bool
    parts: tuple[_Filter | _Group, ...]

    def fits(self, known: Mapping[str, _Known]) -> bool | None:
        if not self.all_of:
            return _any(part.fits(known) for part in self.parts)
        by_field: dict[object, bool | None] = {}
        for number, part in enumerate(self.parts):  # filters on one field are alternatives
            field = part.field if isinstance(part, _Filter) else number
            by_field[field] = _any((by_field.get(field, False), part.fits(known)))
        return _all(by_field.values()) if by_field else False

    def __str__(self) -> str:
        return (" and " if self.all_of else " or ").join(map(str, self.parts)) or "nothing"


class SysmonRules:
    """The rules of a configuration for event 8: what is included, if anything is named, and what excluded."""

    def __init__(self, included: list[_Group] | None, excluded: list[_Group]) -> None:
        self._included = included
        self._excluded = excluded

    def why_not(self, detection: Detection) -> str | None:
        """Return why Sysmon does not log *detection*, of another witness; None where it does, or may."""
        known = _as_sysmon_writes(detection)
        for group in self._excluded:
            if group.fits(known):
                return f"Sysmon's configuration excludes it: {group}"
        if self._included is not None and _any(group.fits(known) for group in self._included) is False:
            return "Sysmon's configuration does not include it"
        return None


def read_rules(path: Path) -> SysmonRules:
    """Return the rules in the configuration at *path*. Raises EtwDetectError where it can't be read."""
    try:
        data = read_file(path, _MOST + 1)
    except OSError as error:
        raise EtwDetectError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return parse_rules(data)
    except ValueError as error:
        raise EtwDetectError(f"{path} is not a configuration of Sysmon: {error}") from error


def parse_rules(data: bytes) -> SysmonRules:
    """Return the rules in *data*, a configuration in XML. Raises ValueError, with what is wrong."""
    if len(data) > _MOST:
        raise ValueError(f"it is longer than {_MOST:,} bytes")
    if b"<!DOCTYPE" in data or "<!DOCTYPE".encode("utf-16-le") in data:
        raise ValueError("it has a document type")
    try:
        root = ET.fromstring(data)  # noqa: S314 (nothing can be defined without a document type)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"not valid XML: {error}") from error
    if root.tag != "Sysmon":
        raise ValueError(f"its root is {root.tag!r}, must be 'Sysmon'")
    included: list[_Group] | None = None
    excluded: list[_Group] = []
    for parent in root.iter():
        relation = parent.get("groupRelation", "and").lower() if parent.tag == "RuleGroup" else "and"
        for section in parent.findall(_EVENT):
            group = _group(section, all_of=relation == "and")
            if section.get("onmatch", "").lower() == "exclude":
                excluded.append(group)
            else:
                included = [*(included or []), group]
    return SysmonRules(included, excluded)


def _group(element: ET.Element, *, all_of: bool) -> _Group:
    parts: list[_Filter | _Group] = []
    for each in element:
        if each.tag == "Rule":
            parts.append(_group(each, all_of=each.get("groupRelation", "and").lower() == "and"))
        elif isinstance(each.tag, str):
            condition = each.get("condition", "is").lower()
            if condition not in _CONDITIONS:
                raise ValueError(f"{each.tag} has the unknown condition {condition!r}")
            parts.append(_Filter(each.tag, condition, each.text or ""))
    return _Group(all_of, tuple(parts))
