"""Finds rules that can't work as meant: they ask for fields that the records at hand never have."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.types import (
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaString,
    SpecialChars,
)

from etwdetect.enrich.programs import lacks_path, may_be_cut
from etwdetect.results.sigma.fields import PROGRAMS, field_called
from etwdetect.results.sigma.sql import asks_for_missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sigma.types import SigmaType

    from etwdetect.results.sigma.rules import LoadedRule


_VOLUME: Final = re.compile(r"\\Device\\HarddiskVolume[0-9]+(?=\\)", re.IGNORECASE)
_END_OF_PATH: Final = re.compile(r"\*\\[^\\*]+")
r"""A wildcard, and a name behind a backslash: ``endswith: \a.exe``."""


class Lack(Enum):
    """What the name of a program or of a module lacks; the value says it in messages."""

    PATH = "has no path"
    END = "may be cut"
    DRIVE = "has no drive"


class Risk(NamedTuple):
    """A *rule* asks for *fields* that are always missing; *never* if it therefore can't fire at all.

    With *lack*, the fields are there, but the rule asks for that part of them.
    """

    rule: LoadedRule
    fields: tuple[str, ...]
    never: bool
    lack: Lack | None = None

    def __str__(self) -> str:
        fields = ", ".join(self.fields)
        if self.lack:
            effect = "can't fire" if self.never else "is judged without it"
            return (
                f"the Sigma rule {self.rule.title!r} ({self.rule.file}) {effect} where {fields} {self.lack.value}"
            )
        effect = f"can't fire here for lack of {fields}" if self.never else f"is judged here without {fields}"
        return f"the Sigma rule {self.rule.title!r} ({self.rule.file}) {effect}"


def risks(rules: Iterable[LoadedRule], lacking: Collection[str]) -> Iterator[Risk]:
    """Yield those of *rules* that ask for one of the fields *lacking*, or for one that no record has."""
    for rule in rules:
        missing = dict.fromkeys(
            name for tree in rule.trees for name in asked_fields(tree) if _is_lacking(name, lacking)
        )
        if missing:
            never = all(_outcome(tree, lacking) is False for tree in rule.trees)
            yield Risk(rule, tuple(missing), never)


class Partial(NamedTuple):
    """The *value* of a field that has what is asked for but for one part, which it *lacks*."""

    value: str
    lacks: Lack


def path_risks(rules: Iterable[LoadedRule], partial: Mapping[str, Partial]) -> Iterator[Risk]:
    """Yield those of *rules* that depend, for a record with the *partial* values, on what these lack."""
    for rule in rules:
        asked = dict.fromkeys(
            name for name, pattern in rule.paths if name in partial and _is_open(pattern, partial[name])
        )
        if asked:
            never = all(_outcome(tree, (), partial) is False for tree in rule.trees)
            yield Risk(rule, tuple(asked), never, partial[next(iter(asked))].lacks)


def partial_values(values: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, Partial]]:
    """Yield those of *values*, programs and modules by their fields, that are not the whole path."""
    for field, value in values:
        if not value:
            continue
        if field in PROGRAMS and lacks_path(value):
            yield field, Partial(value, Lack.END if may_be_cut(value) else Lack.PATH)
        elif _VOLUME.match(value):
            yield field, Partial(value, Lack.DRIVE)


def asked_paths(trees: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Yield each field of a program or a module that *trees* ask for, and the pattern, ``*`` for wildcards."""
    for tree in trees:
        yield from asked_paths(getattr(tree, "args", ()))
        if isinstance(tree, ConditionFieldEqualsValueExpression):
            field = field_called(tree.field)
            if field is not None and (field.name in PROGRAMS or field.name == "StartModule"):
                yield from ((field.name, pattern) for pattern in _patterns(tree.value))


def _patterns(value: SigmaType) -> Iterator[str]:
    if isinstance(value, SigmaExpansion):
        for each in value.values:
            yield from _patterns(each)
    elif isinstance(value, SigmaString) and not asks_for_missing(value):
        yield "".join("*" if isinstance(part, SpecialChars) else str(part) for part in value.s)


def _is_open(pattern: str, partial: Partial) -> bool:
    """Whether *pattern* may or may not match the whole path of which *partial* is known."""
    pattern, value = pattern.lower(), partial.value.lower()
    if partial.lacks is Lack.DRIVE:
        drive, _, asked = pattern.partition(":")
        beginning, wildcard, _ = asked.partition("*")
        path = value[_volume_length(value) :]
        return len(drive) == 1 and (path.startswith(beginning) if wildcard else path == asked)
    name = pattern.rpartition("\\")[2]
    if partial.lacks is Lack.END:
        return "*" in name or name.startswith(value)
    if "\\" not in pattern or _END_OF_PATH.fullmatch(pattern):
        return False  # it asks for the name alone, which is known
    return "*" in name or name == value


def _volume_length(path: str) -> int:
    volume = _VOLUME.match(path)
    return volume.end() if volume else 0


def asked_fields(tree: object) -> Iterator[str]:
    """Yield the names of the fields that a condition asks for, as the rule writes them."""
    for part in getattr(tree, "args", ()):
        yield from asked_fields(part)
    if isinstance(tree, ConditionFieldEqualsValueExpression):
        yield tree.field
        if isinstance(tree.value, SigmaFieldReference):
            yield tree.value.field


def _is_lacking(name: str, lacking: Collection[str]) -> bool:
    field = field_called(name)
    return field is None or field.name in lacking


def never_fires(rule_trees: Iterable[object]) -> bool:
    """Whether what is the same in all records, and what none has, keeps each condition from being true."""
    return all(_outcome(tree, ()) is False for tree in rule_trees)


def _outcome(tree: object, lacking: Collection[str], partial: Mapping[str, Partial] | None = None) -> bool | None:
    """Return the value of a condition while the fields *lacking* are missing, or those of *partial* not whole.

    None if it depends on others.
    """
    if isinstance(tree, ConditionAND | ConditionOR):
        each = {_outcome(part, lacking, partial) for part in tree.args}
        deciding = isinstance(tree, ConditionOR)
        if deciding in each:
            return deciding
        return None if None in each else not deciding
    if isinstance(tree, ConditionNOT):
        inner = _outcome(tree.args[0], lacking, partial)
        return None if inner is None else not inner
    if not isinstance(tree, ConditionFieldEqualsValueExpression):
        return None
    if partial is not None:
        return (
            False
            if any(name in partial and _is_open(asked, partial[name]) for name, asked in asked_paths([tree]))
            else None
        )
    return _of_lacking(tree, lacking)


def _of_lacking(condition: ConditionFieldEqualsValueExpression, lacking: Collection[str]) -> bool | None:
    value = condition.value
    if isinstance(value, SigmaFieldReference) and _is_lacking(value.field, lacking):
        return False
    field = field_called(condition.field)
    if field is not None and field.constant is not None:
        return _of_constant(value, str(field.constant).lower())
    return _of_missing(value) if _is_lacking(condition.field, lacking) else None


def _of_constant(value: SigmaType, constant: str) -> bool | None:
    """Whether *constant*, in lower case, is *value*; None where that takes more than a comparison."""
    if isinstance(value, SigmaExpansion):
        each = {_of_constant(one, constant) for one in value.values}
        return True if True in each else None if None in each else False
    if isinstance(value, SigmaNumber) or (isinstance(value, SigmaString) and not value.contains_special()):
        return str(value).lower() == constant
    return None


def _of_missing(value: SigmaType) -> bool:
    """Whether a missing field is what *value* asks for."""
    if isinstance(value, SigmaExpansion):
        return any(map(_of_missing, value.values))
    if isinstance(value, SigmaExists):
        return not value.exists
    return isinstance(value, SigmaNull) or asks_for_missing(value)
