"""Assigns a kind and a severity to each remote thread by rules, in order.

A kind never hides a detection. docs/user/kinds.md describes the rules for users.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.bounded import BoundedMap
from etwdetect.enrich.fields import FIELDS
from etwdetect.enrich.kind_rules import PLACEHOLDER, SEVERITIES, KindCondition, KindRule, builtin

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.fields import Value

UNKNOWN: Final = "unknown"
"""The kind of a rule that says that the kind cannot be known, and why."""

_ASSIGNED: Final = ("kind", "severity")

_MOST_VALUES: Final = 1024
"""Of how many values of a field it is remembered which rules they do not fit."""
_LONGEST: Final = 260
"""The most characters of a value that is remembered."""

AT_LEAST: Final = "at_least"
"""Among what a rule assigned: that the severity is not below what the rule says."""


class RuleOutcome(NamedTuple):
    """The result of one rule for a detection: the condition it *missed*, or the fields it *assigned*."""

    rule: KindRule
    missed: KindCondition | None
    assigned: tuple[str, ...]


class _Decision(NamedTuple):
    """What rules decide: the rule that assigns the *kind*, if any, the *severity*, and the rules that raise it."""

    kind: KindRule | None
    severity: str | None
    raising: tuple[KindRule, ...]


class _RuledOut(dict["Value", int]):
    """By the value of one field: the rules that it does not fit, a bit for each.

    *conditions* are those on the field, each with the bit of its rule. Most fields have few values.
    """

    def __init__(self, conditions: list[tuple[int, KindCondition]]) -> None:
        super().__init__()
        self._conditions = conditions

    def __missing__(self, value: Value) -> int:
        rules = sum(bit for bit, condition in self._conditions if not condition.fits(value))
        if (len(value) if isinstance(value, str) else sum(map(len, value or ()))) <= _LONGEST:
            if len(self) >= _MOST_VALUES:
                self.clear()
            self[value] = rules
        return rules


class Kinds:
    """The rules in order: a user's own first, then the built-in ones."""

    def __init__(self, own: tuple[KindRule, ...] = ()) -> None:
        self.rules = own + builtin()
        conditions: dict[str, list[tuple[int, KindCondition]]] = {}
        for number, rule in enumerate(self.rules):
            for condition in rule.when:
                conditions.setdefault(condition.field, []).append((1 << number, condition))
        self._ruled_out = {field: _RuledOut(of_field) for field, of_field in conditions.items()}
        self._decisions: BoundedMap[int, _Decision] = BoundedMap(_MOST_VALUES)
        """By the rules that do not fit, a bit for each."""

    def classify(self, detection: Detection) -> Detection:
        """Return *detection* with its kind and severity, the reason for both, and ATT&CK techniques."""
        rule, severity, raising = self._decision(detection)
        if rule is None:
            return replace(detection, severity=severity)
        reasons = (_filled(each.reason, detection) for each in (rule, *raising))
        reason = "; ".join(filter(None, reasons)) or f"the rule {rule.name!r} fits"
        if rule.kind == UNKNOWN:
            absent = (*detection.absent, ("Kind", reason))
            return replace(detection, severity=severity, techniques=rule.attack, absent=absent)
        return replace(detection, severity=severity, techniques=rule.attack, kind=rule.kind, reason=reason)

    def evaluate(self, detection: Detection) -> Iterator[RuleOutcome]:
        """Yield the outcome of each rule for *detection*, in order; the first to assign a field decides it.

        A rule with a least severity counts up to the one that assigns the severity.
        """
        return _outcomes((rule, rule.missed(detection)) for rule in self.rules)

    def _decision(self, detection: Detection) -> _Decision:
        out = 0
        for field, ruled_out in self._ruled_out.items():
            out |= ruled_out[FIELDS[field](detection)]
        decision = self._decisions.get(out)
        if decision is None:
            fitting = ((rule, None) for number, rule in enumerate(self.rules) if not out >> number & 1)
            decision = _decided(_outcomes(fitting))
            self._decisions.put(out, decision)
        return decision


def _outcomes(rules: Iterable[tuple[KindRule, KindCondition | None]]) -> Iterator[RuleOutcome]:
    """Yield the outcome of each of *rules*, beside each of which is the condition that is missed."""
    unassigned = list(_ASSIGNED)
    for rule, missed in rules:
        assigned = () if missed else tuple(name for name in unassigned if getattr(rule, name) is not None)
        if not missed and rule.at_least is not None and "severity" in unassigned:
            assigned += (AT_LEAST,)
        unassigned = [name for name in unassigned if name not in assigned]
        yield RuleOutcome(rule, missed, assigned)


def _decided(outcomes: Iterable[RuleOutcome]) -> _Decision:
    """Return what *outcomes* come to."""
    by: dict[str, KindRule] = {}
    raising: list[KindRule] = []
    for outcome in outcomes:
        if AT_LEAST in outcome.assigned:
            raising.append(outcome.rule)
        by.update((name, outcome.rule) for name in outcome.assigned if name != AT_LEAST)
    severity = by["severity"].severity if "severity" in by else None
    if severity is not None:
        severity = min((severity, *(rule.at_least or severity for rule in raising)), key=SEVERITIES.index)
    return _Decision(by.get("kind"), severity, tuple(raising))


def _filled(reason: str, detection: Detection) -> str:
    """Return *reason* with each field in braces replaced by its value, or by the reason why it is unknown."""
    absent = dict(detection.absent)

    def value(match: re.Match[str]) -> str:
        known = FIELDS[match[1]](detection) if match[1] in FIELDS else match[0]
        return known if isinstance(known, str) else ", ".join(known or ()) or absent.get(match[1], "not known")

    return PLACEHOLDER.sub(value, reason)
