"""What kind of thing a remote thread is, and how severe: rules from TOML, looked at in their order.

A kind never hides a detection. docs/kinds.md describes the form of the rules for users.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.errors import RuleFileError
from etwdetect.enrich.fields import FIELDS, HEXADECIMAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.fields import Value

SEVERITIES: Final = ("high", "medium", "low", "informational")
UNKNOWN: Final = "unknown"
"""The kind of a rule that says that the kind can't be known, and why."""

_DECIDED: Final = ("kind", "severity")
_MOST_BYTES: Final = 256 << 10
_MOST_DOTS: Final = 500
"""In a line. tomllib takes time by the square of a key's parts: of these bounds, seconds and not minutes."""
_KEYS: Final = ("name", "kind", "severity", "reason", "when")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def fits(pattern: str, text: str) -> bool:
    r"""Whether all of *text* is *pattern*, where ``*`` stands for any text, and case does not matter.

    Takes time in proportion to the two lengths, whatever they are. An empty pattern fits nothing here.

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
    """Return what stands between the stars of *pattern*."""
    return tuple(pattern.casefold().split("*"))


class Condition(NamedTuple):
    """That a field fits one of some patterns; the empty pattern is for a field that is not known."""

    field: str
    patterns: tuple[str, ...]

    def fits(self, value: Value) -> bool:
        """Whether *value* is as asked; of several values one is enough."""
        values = (value,) if isinstance(value, str) else value or ()
        if not values:
            return "" in self.patterns
        return any(fits(pattern, each) for pattern in self.patterns for each in values)


@dataclass(frozen=True)
class Rule:
    """One rule: what must be so, and what then is said. *origin* is the file that it stands in."""

    name: str
    when: tuple[Condition, ...]
    kind: str | None = None
    severity: str | None = None
    reason: str = ""
    origin: str = ""

    def missed(self, detection: Detection) -> Condition | None:
        """Return the first condition that *detection* does not meet, if any."""
        return next((each for each in self.when if not each.fits(FIELDS[each.field](detection))), None)


class Judgement(NamedTuple):
    """What one rule made of a detection: the condition that it *missed*, and what it *decided*."""

    rule: Rule
    missed: Condition | None
    decided: tuple[str, ...]


class Kinds:
    """Rules in their order: a user's own, which come first, and the built-in ones."""

    def __init__(self, own: tuple[Rule, ...] = ()) -> None:
        self.rules = own + builtin()

    def judged(self, detection: Detection) -> Detection:
        """Return *detection* with its kind, the reason for it, and its severity."""
        by: dict[str, Rule] = {}
        for judgement in self.judge(detection):
            by.update(dict.fromkeys(judgement.decided, judgement.rule))
            if len(by) == len(_DECIDED):
                break
        severity = by["severity"].severity if "severity" in by else None
        if "kind" not in by:
            return replace(detection, severity=severity)
        rule = by["kind"]
        reason = _filled(rule.reason, detection) or f"the rule {rule.name!r} fits"
        if rule.kind == UNKNOWN:
            return replace(detection, severity=severity, absent=(*detection.absent, ("Kind", reason)))
        return replace(detection, severity=severity, kind=rule.kind, reason=reason)

    def judge(self, detection: Detection) -> Iterator[Judgement]:
        """Yield what each rule makes of *detection*, in their order."""
        open_questions = list(_DECIDED)
        for rule in self.rules:
            missed = rule.missed(detection)
            decided = () if missed else tuple(what for what in open_questions if getattr(rule, what) is not None)
            open_questions = [what for what in open_questions if what not in decided]
            yield Judgement(rule, missed, decided)


def _filled(reason: str, detection: Detection) -> str:
    """Return *reason* with the fields that it names in braces, or why they are not known."""
    absent = dict(detection.absent)

    def value(match: re.Match[str]) -> str:
        known = FIELDS[match[1]](detection) if match[1] in FIELDS else match[0]
        return known if isinstance(known, str) else ", ".join(known or ()) or absent.get(match[1], "not known")

    return _PLACEHOLDER.sub(value, reason)


@cache
def builtin() -> tuple[Rule, ...]:
    """Return the rules that come with the package."""
    path = Path(__file__).with_name("kinds.toml")
    return parse(path.read_text("utf-8"), path.name)


def load(path: Path) -> tuple[Rule, ...]:
    """Return the rules in the file at *path*; RuleFileError where it can't be read or has a mistake."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise RuleFileError(str(path), f"cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise RuleFileError(str(path), f"is larger than {_MOST_BYTES:,} bytes")
    try:
        return parse(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise RuleFileError(str(path), f"is not UTF-8 at byte {error.start}") from error


def parse(text: str, origin: str) -> tuple[Rule, ...]:
    """Return the rules of TOML *text*, which stands in the file *origin*; RuleFileError for a mistake in it."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS:
            raise RuleFileError(origin, f"line {number:,} has more than {_MOST_DOTS} dots: make it several lines")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise RuleFileError(origin, f"is not TOML: {error}") from error
    entries = document.pop("rule", [])
    if document:
        raise RuleFileError(origin, f"has {next(iter(document))!r} where only [[rule]] is known")
    if not isinstance(entries, list) or not entries:
        raise RuleFileError(origin, "has no [[rule]]")
    rules: list[Rule] = []
    for number, entry in enumerate(entries, 1):
        rule = _Entry(entry, origin, number).rule()
        if any(each.name == rule.name for each in rules):
            raise RuleFileError(origin, f"rule {number}: name: there is a rule {rule.name!r} before it")
        rules.append(rule)
    return tuple(rules)


class _Entry:
    """One [[rule]] of a file, being read."""

    def __init__(self, entry: object, origin: str, number: int) -> None:
        self._origin = origin
        self._where = f"rule {number}"
        if not isinstance(entry, dict):
            raise self._wrong("is no table")
        self._entry: Mapping[str, Any] = entry

    def rule(self) -> Rule:
        name = self._text("name")
        if not name:
            raise self._wrong("name: is missing")
        self._where += f" ({name!r})"
        for key in self._entry:
            if key not in _KEYS:
                raise self._wrong(f"{key}: is none of {', '.join(_KEYS)}")
        kind, severity = self._text("kind"), self._text("severity")
        if kind is None and severity is None:
            raise self._wrong("has neither kind nor severity")
        if severity is not None and severity not in SEVERITIES:
            raise self._wrong(f"severity: {severity!r} is none of {', '.join(SEVERITIES)}")
        return Rule(name, self._conditions(), kind, severity, self._reason(), self._origin)

    def _reason(self) -> str:
        reason = self._text("reason") or ""
        for field in _PLACEHOLDER.findall(reason):
            if field not in FIELDS:
                raise self._wrong(f"reason: {field!r} is no field")
        return reason

    def _conditions(self) -> tuple[Condition, ...]:
        when = self._entry.get("when")
        if not isinstance(when, dict):
            raise self._wrong("when: must be a table of fields; an empty one fits always")
        return tuple(self._condition(field, patterns) for field, patterns in when.items())

    def _condition(self, field: str, patterns: object) -> Condition:
        if field not in FIELDS:
            raise self._wrong(f"when: {field!r} is no field")
        listed = patterns if isinstance(patterns, list) else [patterns]
        if not listed or any(type(each) not in (str, int) for each in listed):
            raise self._wrong(f"when.{field}: must be a text, a number, or a list of such")
        if field in HEXADECIMAL and not all(isinstance(each, str) for each in listed):
            raise self._wrong(f"when.{field}: must be a text such as '0x1F40', as records have it")
        return Condition(field, tuple(map(str, listed)))

    def _text(self, key: str) -> str | None:
        value = self._entry.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise self._wrong(f"{key}: must be a line of text")
        return value

    def _wrong(self, what: str) -> RuleFileError:
        return RuleFileError(self._origin, f"{self._where}: {what}")
