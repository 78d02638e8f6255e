"""Assigns a kind and a severity to each remote thread by rules, in order.

A kind never hides a detection. docs/user/kinds.md describes the rules for users.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.enrich.fields import FIELDS
from etwdetect.enrich.kind_rules import PLACEHOLDER, SEVERITIES, KindCondition, KindRule, builtin

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from etwdetect.enrich.detection import Detection

UNKNOWN: Final = "unknown"
"""The kind of a rule that says that the kind cannot be known, and why."""

_ASSIGNED: Final = ("kind", "severity")

AT_LEAST: Final = "at_least"
"""Among what a rule assigned: that the severity is not below what the rule says."""


class RuleOutcome(NamedTuple):
    """The result of one rule for a detection: the condition it *missed*, or the fields it *assigned*."""

    rule: KindRule
    missed: KindCondition | None
    assigned: tuple[str, ...]


class Kinds:
    """The rules in order: a user's own first, then the built-in ones."""

    def __init__(self, own: tuple[KindRule, ...] = ()) -> None:
        self.rules = own + builtin()

    def classify(self, detection: Detection) -> Detection:
        """Return *detection* with its kind and severity, the reason for both, and ATT&CK techniques."""
        by: dict[str, KindRule] = {}
        raising: list[KindRule] = []
        for outcome in self.evaluate(detection):
            if AT_LEAST in outcome.assigned:
                raising.append(outcome.rule)
            by.update((name, outcome.rule) for name in outcome.assigned if name != AT_LEAST)
            if len(by) == len(_ASSIGNED):
                break
        severity = by["severity"].severity if "severity" in by else None
        if severity is not None:
            severity = min((severity, *(rule.at_least or severity for rule in raising)), key=SEVERITIES.index)
        if "kind" not in by:
            return replace(detection, severity=severity)
        rule = by["kind"]
        reasons = (_filled(each.reason, detection) for each in (rule, *raising))
        reason = "; ".join(filter(None, reasons)) or f"the rule {rule.name!r} fits"
        assessed = replace(detection, severity=severity, techniques=rule.attack)
        if rule.kind == UNKNOWN:
            return replace(assessed, absent=(*detection.absent, ("Kind", reason)))
        return replace(assessed, kind=rule.kind, reason=reason)

    def evaluate(self, detection: Detection) -> Iterator[RuleOutcome]:
        """Yield the outcome of each rule for *detection*, in order; the first to assign a field decides it.

        A rule with a least severity counts up to the one that assigns the severity.
        """
        unassigned = list(_ASSIGNED)
        for rule in self.rules:
            missed = rule.missed(detection)
            assigned = () if missed else tuple(name for name in unassigned if getattr(rule, name) is not None)
            if not missed and rule.at_least is not None and "severity" in unassigned:
                assigned += (AT_LEAST,)
            unassigned = [name for name in unassigned if name not in assigned]
            yield RuleOutcome(rule, missed, assigned)


def _filled(reason: str, detection: Detection) -> str:
    """Return *reason* with each field in braces replaced by its value, or by the reason why it is unknown."""
    absent = dict(detection.absent)

    def value(match: re.Match[str]) -> str:
        known = FIELDS[match[1]](detection) if match[1] in FIELDS else match[0]
        return known if isinstance(known, str) else ", ".join(known or ()) or absent.get(match[1], "not known")

    return PLACEHOLDER.sub(value, reason)
