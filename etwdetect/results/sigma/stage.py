"""Puts the titles of the rules that fire into detections, on their way from the filter to the output."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.sigma.risks import Risk
    from etwdetect.results.sigma.rules import Rules

BATCH: Final = 256
"""How many detections of a recording are judged at once: four times as fast as one by one; more gains nothing."""


class SigmaStage:
    """Judges detections by *rules*: `batch` of them at a time; 1 where somebody waits for each.

    Titles that a detection has already, from a saved result, stay.
    """

    def __init__(self, rules: Rules, batch: int = BATCH) -> None:
        self.batch = batch
        self._rules = rules
        self._held: list[Detection] = []
        self._told: set[Risk] = set()

    def risks(self, lacking: Collection[str]) -> Iterator[Risk]:
        """Yield the risks that the fields *lacking* make of rules, each once however often it is asked."""
        from etwdetect.results.sigma.risks import risks  # noqa: PLC0415 (needs pySigma, an extra)

        for risk in risks(self._rules.rules, lacking):
            if risk not in self._told:
                self._told.add(risk)
                yield risk

    def add(self, detection: Detection) -> Iterator[Detection]:
        """Take the next detection; yield those that are judged."""
        self._held.append(detection)
        if len(self._held) >= self.batch:
            yield from self.take(None)

    def take(self, now: int | None) -> Iterator[Detection]:  # noqa: ARG002 (time does not matter here)
        """Judge those that wait, and yield them."""
        held, self._held = self._held, []
        for detection, titles in zip(held, self._rules.fired([to_dict(each) for each in held]), strict=True):
            yield (
                replace(detection, sigma=tuple(dict.fromkeys((*detection.sigma, *titles))))
                if titles
                else detection
            )
