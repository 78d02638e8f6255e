"""Finds rules that can't work as meant: they ask for fields that the records at hand never have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.types import SigmaExists, SigmaExpansion, SigmaFieldReference, SigmaNull, SigmaString

from etwdetect.results.sigma.fields import field_called
from etwdetect.results.sigma.sql import asks_for_missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sigma.types import SigmaType

    from etwdetect.results.sigma.rules import LoadedRule


class Risk(NamedTuple):
    """A *rule* asks for *fields* that are always missing; *never* if it therefore can't fire at all.

    With *bare*, the fields are there, as bare names, but the rule asks for their paths.
    """

    rule: LoadedRule
    fields: tuple[str, ...]
    never: bool
    bare: bool = False

    def __str__(self) -> str:
        fields = ", ".join(self.fields)
        if self.bare:
            effect = "can't fire" if self.never else "is judged without it"
            return f"the Sigma rule {self.rule.title!r} ({self.rule.file}) {effect} where {fields} has no path"
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


def path_risks(rules: Iterable[LoadedRule], bare: Collection[str]) -> Iterator[Risk]:
    """Yield those of *rules* that ask for the paths of the fields *bare*, which are bare names."""
    for rule in rules:
        asked = dict.fromkeys(name for tree in rule.trees for name in _asked_paths(tree, bare))
        if asked:
            never = all(_outcome(tree, (), bare) is False for tree in rule.trees)
            yield Risk(rule, tuple(asked), never, bare=True)


def _asked_paths(tree: object, bare: Collection[str]) -> Iterator[str]:
    for part in getattr(tree, "args", ()):
        yield from _asked_paths(part, bare)
    if isinstance(tree, ConditionFieldEqualsValueExpression) and _is_bare(tree, bare):
        yield tree.field


def _is_bare(condition: ConditionFieldEqualsValueExpression, bare: Collection[str]) -> bool:
    """Whether *condition* asks for the path of one of the fields *bare*."""
    field = field_called(condition.field)
    return field is not None and field.name in bare and _has_a_folder(condition.value)


def _has_a_folder(value: SigmaType) -> bool:
    if isinstance(value, SigmaExpansion):
        return all(map(_has_a_folder, value.values))
    return isinstance(value, SigmaString) and any("\\" in part for part in value.s if isinstance(part, str))


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


def _outcome(tree: object, lacking: Collection[str], bare: Collection[str] = ()) -> bool | None:
    """Return the value of a condition while the fields *lacking* are missing and those *bare* have no path.

    None if it depends on others.
    """
    if isinstance(tree, ConditionAND | ConditionOR):
        each = {_outcome(part, lacking, bare) for part in tree.args}
        deciding = isinstance(tree, ConditionOR)
        if deciding in each:
            return deciding
        return None if None in each else not deciding
    if isinstance(tree, ConditionNOT):
        inner = _outcome(tree.args[0], lacking, bare)
        return None if inner is None else not inner
    if not isinstance(tree, ConditionFieldEqualsValueExpression):
        return None
    if bare:
        return False if _is_bare(tree, bare) else None
    return _of_lacking(tree, lacking)


def _of_lacking(condition: ConditionFieldEqualsValueExpression, lacking: Collection[str]) -> bool | None:
    value = condition.value
    if isinstance(value, SigmaFieldReference) and _is_lacking(value.field, lacking):
        return False
    return _of_missing(value) if _is_lacking(condition.field, lacking) else None


def _of_missing(value: SigmaType) -> bool:
    """Whether a missing field is what *value* asks for."""
    if isinstance(value, SigmaExpansion):
        return any(map(_of_missing, value.values))
    if isinstance(value, SigmaExists):
        return not value.exists
    return isinstance(value, SigmaNull) or asks_for_missing(value)
