"""Rules that assign a kind and a severity to remote threads: their TOML form, loading and matching.

docs/user/kinds.md describes the form of the rules for users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core import toml
from etwdetect.core.errors import RuleFileError
from etwdetect.enrich.fields import FIELDS, HEXADECIMAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.fields import Value

SEVERITIES: Final = ("critical", "high", "medium", "low", "informational")

_KEYS: Final = ("name", "kind", "severity", "at_least", "attack", "reason", "when")
_TECHNIQUE: Final = re.compile(r"T[0-9]{4}(\.[0-9]{3})?")
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
"""A field's name in the text of a reason."""


def fits(pattern: str, text: str) -> bool:
    r"""Whether all of *text* matches *pattern*, in which ``*`` stands for any text; case-insensitive.

    Takes time proportional to the two lengths. An empty pattern matches nothing here.

    >>> fits("*\\NTDLL.dll", "C:\\Windows\\System32\\ntdll.dll")
    True
    """
    first, *rest = _pieces(pattern)
    text = text.casefold()
    if not rest:
        return bool(first) and text == first
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[str, ...]:
    """Return the parts of *pattern* between the stars."""
    return tuple(pattern.casefold().split("*"))


class KindCondition(NamedTuple):
    """Requires a field to match one of *patterns*; an empty pattern matches an unknown field."""

    field: str
    patterns: tuple[str, ...]

    def fits(self, value: Value) -> bool:
        """Whether *value* matches; of several values one is enough."""
        values = (value,) if isinstance(value, str) else value or ()
        if not values:
            return "" in self.patterns
        return any(fits(pattern, each) for pattern in self.patterns for each in values)


@dataclass(frozen=True)
class KindRule:
    """One rule: its conditions, and the kind, severity and reason it assigns. *origin* is its file.

    *attack* has the ids of the ATT&CK techniques that the kind is a sign of. With *at_least*, no severity that a
    later rule assigns is below that.
    """

    name: str
    when: tuple[KindCondition, ...]
    kind: str | None = None
    severity: str | None = None
    at_least: str | None = None
    reason: str = ""
    origin: str = ""
    attack: tuple[str, ...] = ()

    def missed(self, detection: Detection) -> KindCondition | None:
        """Return the first condition that *detection* does not meet, or None."""
        return next((each for each in self.when if not each.fits(FIELDS[each.field](detection))), None)


@cache
def builtin() -> tuple[KindRule, ...]:
    """Return the built-in rules."""
    path = Path(__file__).with_name("kinds.toml")
    return parse(path.read_text("utf-8"), path.name)


def load(path: Path) -> tuple[KindRule, ...]:
    """Return the rules in the file at *path*. Raises RuleFileError if it cannot be read or is invalid."""
    try:
        text = toml.read(path)
    except OSError as error:
        raise RuleFileError(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RuleFileError(str(path), str(error)) from error
    return parse(text, str(path))


def parse(text: str, origin: str) -> tuple[KindRule, ...]:
    """Return the rules of the TOML *text* of the file *origin*. Raises RuleFileError if it is invalid."""
    try:
        document = toml.parse(text)
    except ValueError as error:
        raise RuleFileError(origin, str(error)) from error
    entries = document.pop("rule", [])
    if document:
        raise RuleFileError(origin, f"unknown key {next(iter(document))!r}; only [[rule]] is allowed")
    if not isinstance(entries, list) or not entries:
        raise RuleFileError(origin, "has no [[rule]]")
    rules: list[KindRule] = []
    for number, entry in enumerate(entries, 1):
        rule = _Entry(entry, origin, number).rule()
        if any(each.name == rule.name for each in rules):
            raise RuleFileError(origin, f"rule {number}: name: {rule.name!r} is used by an earlier rule")
        rules.append(rule)
    return tuple(rules)


class _Entry:
    """Validates one [[rule]] of a file."""

    def __init__(self, entry: object, origin: str, number: int) -> None:
        self._origin = origin
        self._where = f"rule {number}"
        if not isinstance(entry, dict):
            raise self._error("must be a table")
        self._entry: Mapping[str, Any] = entry

    def rule(self) -> KindRule:
        name = self._text("name")
        if not name:
            raise self._error("name: is missing")
        self._where += f" ({name!r})"
        for key in self._entry:
            if key not in _KEYS:
                raise self._error(f"{key}: unknown key; allowed are {', '.join(_KEYS)}")
        kind, severity, at_least = self._text("kind"), self._severity("severity"), self._severity("at_least")
        if kind is None and severity is None and at_least is None:
            raise self._error("needs a kind or a severity")
        if severity is not None and at_least is not None:
            raise self._error("at_least: has no use beside a severity")
        given = kind, severity, at_least, self._reason(), self._origin, self._attack(kind)
        return KindRule(name, self._conditions(), *given)

    def _severity(self, key: str) -> str | None:
        severity = self._text(key)
        if severity is not None and severity not in SEVERITIES:
            raise self._error(f"{key}: {severity!r} must be one of {', '.join(SEVERITIES)}")
        return severity

    def _attack(self, kind: str | None) -> tuple[str, ...]:
        techniques = self._entry.get("attack", [])
        if not isinstance(techniques, list) or not all(
            isinstance(each, str) and _TECHNIQUE.fullmatch(each) for each in techniques
        ):
            raise self._error('attack: must be a list of technique ids such as "T1055.001"')
        if techniques and kind is None:
            raise self._error("attack: needs a kind, which the techniques belong to")
        return tuple(techniques)

    def _reason(self) -> str:
        reason = self._text("reason") or ""
        for field in PLACEHOLDER.findall(reason):
            if field not in FIELDS:
                raise self._error(f"reason: {field!r} is not a field")
        return reason

    def _conditions(self) -> tuple[KindCondition, ...]:
        when = self._entry.get("when")
        if not isinstance(when, dict):
            raise self._error("when: must be a table of fields; an empty one always matches")
        return tuple(self._condition(field, patterns) for field, patterns in when.items())

    def _condition(self, field: str, patterns: object) -> KindCondition:
        if field not in FIELDS:
            raise self._error(f"when: {field!r} is not a field")
        listed = patterns if isinstance(patterns, list) else [patterns]
        if not listed or any(type(each) not in (str, int) for each in listed):
            raise self._error(f"when.{field}: must be a string, an integer, or a list of these")
        if field in HEXADECIMAL and not all(isinstance(each, str) for each in listed):
            raise self._error(f"when.{field}: must be a string such as '0x1F40', as in records")
        return KindCondition(field, tuple(map(str, listed)))

    def _text(self, key: str) -> str | None:
        value = self._entry.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise self._error(f"{key}: must be a printable string on one line")
        return value

    def _error(self, what: str) -> RuleFileError:
        return RuleFileError(self._origin, f"{self._where}: {what}")
