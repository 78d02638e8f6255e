"""What Sysmon's configuration says about event 8: which remote threads it does not log.

The form is documented at https://learn.microsoft.com/sysinternals/downloads/sysmon#configuration-files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.files import read_file
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from etwdetect.enrich.detection import Detection

_EVENT: Final = "CreateRemoteThread"
_MOST: Final = 16 << 20


def _parts(value: str) -> list[str]:
    return [part for part in (each.strip() for each in value.split(";")) if part]


def _file_name(path: str) -> str:
    return path.rpartition("\\")[2]


_CONDITIONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "is": lambda text, value: text == value,
    "is any": lambda text, value: text in _parts(value),
    "is not": lambda text, value: text != value,
    "contains": lambda text, value: value in text,
    "contains any": lambda text, value: any(part in text for part in _parts(value)),
    "contains all": lambda text, value: all(part in text for part in _parts(value)),
    "excludes": lambda text, value: value not in text,
    "excludes any": lambda text, value: any(part not in text for part in _parts(value)),
    "excludes all": lambda text, value: all(part not in text for part in _parts(value)),
    "begin with": lambda text, value: text.startswith(value),
    "end with": lambda text, value: text.endswith(value),
    "not begin with": lambda text, value: not text.startswith(value),
    "not end with": lambda text, value: not text.endswith(value),
    "less than": lambda text, value: text < value,
    "more than": lambda text, value: text > value,
    "image": lambda text, value: text == value if "\\" in value else _file_name(text) == value,
}
"""Each compares lower-case texts."""


class _Filter(NamedTuple):
    """A condition on one field of event 8."""

    field: str
    condition: str
    value: str

    def fits(self, known: Mapping[str, str]) -> bool:
        return _CONDITIONS[self.condition](known.get(self.field, "").lower(), self.value.lower())

    def __str__(self) -> str:
        return f"{self.field} {self.condition} {self.value}"


class _Group(NamedTuple):
    """Filters and groups of them, of which all that are about different fields must fit, or any."""

    all_of: bool
    parts: tuple[_Filter | _Group, ...]

    def fits(self, known: Mapping[str, str]) -> bool:
        if not self.all_of:
            return any(part.fits(known) for part in self.parts)
        by_field: dict[object, bool] = {}
        for number, part in enumerate(self.parts):  # filters on one field are alternatives
            field = part.field if isinstance(part, _Filter) else number
            by_field[field] = by_field.get(field, False) or part.fits(known)
        return bool(by_field) and all(by_field.values())

    def __str__(self) -> str:
        return (" and " if self.all_of else " or ").join(map(str, self.parts)) or "nothing"


class SysmonRules:
    """The rules of a configuration for event 8: what is included, if anything is named, and what excluded."""

    def __init__(self, included: list[_Group] | None, excluded: list[_Group]) -> None:
        self._included = included
        self._excluded = excluded

    def why_not(self, detection: Detection) -> str | None:
        """Return why Sysmon does not log *detection*; None where it does."""
        known = {name: str(value) for name, value in to_dict(detection).items()}
        for group in self._excluded:
            if group.fits(known):
                return f"Sysmon's configuration excludes it: {group}"
        if self._included is not None and not any(group.fits(known) for group in self._included):
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
