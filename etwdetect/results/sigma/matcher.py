"""Adds the Sigma rules that fire to detections: a processor of results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.results.attack import techniques
from etwdetect.results.fields import sigma_level
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from etwdetect.enrich.detection import Detection, FiredRule
    from etwdetect.results.sigma.risks import Partial, Risk
    from etwdetect.results.sigma.rules import LoadedRule, RuleSet

BATCH: Final = 256
"""How many detections of a recording are matched at once: four times as fast as one by one; more gains nothing."""


_MAX_PARTIAL: Final = 4096
"""How many combinations of names without a path are remembered as judged."""


class SigmaMatcher:
    """Matches detections against *rules*, `batch` of them at a time; live results need 1.

    Rules that a detection has already, from a saved result, stay. A rule's level raises a severity that is lower,
    unless *raises* is false.
    """

    def __init__(self, rules: RuleSet, batch: int = BATCH, *, raises: bool = True) -> None:
        self.batch = batch
        self._raises = raises
        self._rules = rules
        self._held: list[Detection] = []
        self._yielded: set[Risk] = set()
        self._partial: set[tuple[tuple[str, Partial], ...]] = set()
        self._in_need_of_paths: set[LoadedRule] = set()

    def risks(self, lacking: Collection[str]) -> Iterator[Risk]:
        """Yield the risks that the fields *lacking* make of rules, each once, however often this is called."""
        from etwdetect.results.sigma.risks import risks  # noqa: PLC0415 (needs pySigma, an extra)

        for risk in risks(self._rules.rules, lacking):
            if risk not in self._yielded:
                self._yielded.add(risk)
                yield risk

    def path_risks(self, detection: Detection) -> Iterator[Risk]:
        """Yield the risks that *detection* makes of rules, where its paths are not whole; each rule once."""
        from etwdetect.results.sigma.risks import partial_values, path_risks  # noqa: PLC0415 (needs pySigma, an extra)

        partial = tuple(partial_values(_paths(detection)))
        if partial and partial not in self._partial:
            if len(self._partial) >= _MAX_PARTIAL:
                self._partial.clear()
            self._partial.add(partial)
            rules = (rule for rule in self._rules.rules if rule not in self._in_need_of_paths)
            for risk in path_risks(rules, dict(partial)):
                self._in_need_of_paths.add(risk.rule)
                yield risk

    def add(self, detection: Detection) -> Iterator[Detection]:
        """Take the next detection; yield those that were matched."""
        self._held.append(detection)
        if len(self._held) >= self.batch:
            yield from self.release(None)

    def release(self, now: int | None) -> Iterator[Detection]:  # noqa: ARG002 (time does not matter here)
        """Match those that wait, and yield them."""
        held, self._held = self._held, []
        for detection, rules in zip(held, self._rules.fired([to_dict(each) for each in held]), strict=True):
            yield self._judged(detection, rules)

    def _judged(self, detection: Detection, rules: tuple[FiredRule, ...]) -> Detection:
        """Return *detection* with *rules*, their techniques, and at least the severity that they have as level."""
        if not rules:
            return detection
        found = [technique for rule in rules for technique in techniques(rule.tags)]
        judged = replace(
            detection,
            sigma=tuple(dict.fromkeys((*detection.sigma, *(rule.title for rule in rules)))),
            sigma_rules=tuple(dict.fromkeys((*detection.sigma_rules, *rules))),
            techniques=tuple(dict.fromkeys((*detection.techniques, *found))),
        )
        level = sigma_level(judged)
        if not self._raises or level is None:
            return judged
        severities = [each for each in SEVERITIES if each in (level, judged.severity)]
        return replace(judged, severity=severities[0])


def _paths(detection: Detection) -> Iterator[tuple[str, str | None]]:
    for side, process in (("Source", detection.source), ("Target", detection.target)):
        yield f"{side}Image", process.image
        yield f"{side}ParentImage", process.parent_image
    yield "StartModule", detection.start.module
