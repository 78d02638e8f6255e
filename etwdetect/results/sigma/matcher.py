"""Adds the titles of the Sigma rules that fire to detections: a processor of results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.programs import is_bare
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.sigma.risks import Risk
    from etwdetect.results.sigma.rules import LoadedRule, RuleSet

BATCH: Final = 256
"""How many detections of a recording are matched at once: four times as fast as one by one; more gains nothing."""


_WITHOUT_PROGRAM: Final = frozenset(("Idle", "System", "Secure System", "Registry", "MemCompression", "vmmem"))
"""The processes that run no program, so that their names are all that there is."""


class SigmaMatcher:
    """Matches detections against *rules*, `batch` of them at a time; live results need 1.

    Titles that a detection has already, from a saved result, stay.
    """

    def __init__(self, rules: RuleSet, batch: int = BATCH) -> None:
        self.batch = batch
        self._rules = rules
        self._held: list[Detection] = []
        self._yielded: set[Risk] = set()
        self._bare: set[tuple[str, ...]] = set()
        self._in_need_of_paths: set[LoadedRule] = set()

    def risks(self, lacking: Collection[str]) -> Iterator[Risk]:
        """Yield the risks that the fields *lacking* make of rules, each once, however often this is called."""
        from etwdetect.results.sigma.risks import risks  # noqa: PLC0415 (needs pySigma, an extra)

        for risk in risks(self._rules.rules, lacking):
            if risk not in self._yielded:
                self._yielded.add(risk)
                yield risk

    def path_risks(self, detection: Detection) -> Iterator[Risk]:
        """Yield the risks that programs of *detection* with a bare name make of rules, each once."""
        from etwdetect.results.sigma.risks import path_risks  # noqa: PLC0415 (needs pySigma, an extra)

        bare = tuple(name for name, image in _images(detection) if image and _has_no_path(image))
        if bare and bare not in self._bare:
            self._bare.add(bare)
            rules = (rule for rule in self._rules.rules if rule not in self._in_need_of_paths)
            for risk in path_risks(rules, bare):
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
        for detection, titles in zip(held, self._rules.fired([to_dict(each) for each in held]), strict=True):
            yield (
                replace(detection, sigma=tuple(dict.fromkeys((*detection.sigma, *titles))))
                if titles
                else detection
            )


def _images(detection: Detection) -> Iterator[tuple[str, str | None]]:
    for side, process in (("Source", detection.source), ("Target", detection.target)):
        yield f"{side}Image", process.image
        yield f"{side}ParentImage", process.parent_image


def _has_no_path(image: str) -> bool:
    return is_bare(image) and image not in _WITHOUT_PROGRAM
