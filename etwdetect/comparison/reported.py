"""Pairs the records that several detectors have of the same machine, for a report that shows all of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.witnesses import compare_witnesses, has, lines
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etwdetect.comparison.witnesses import Witnesses
    from etwdetect.enrich.detection import Detection, Detector

MOST_RECORDS: Final = 20_000
"""How many records are compared."""

_MOST_TOLD: Final = 100


class ReportedRecords:
    """Takes the records of a report, and tells who has which, where there is more than one detector of a machine.

    Records without a machine's name, as traces have them, are of the one machine that others name.
    """

    def __init__(self) -> None:
        self._kept: list[Detection] = []
        self._beyond = 0

    def add(self, detection: Detection) -> None:
        """Take a record."""
        if len(self._kept) < MOST_RECORDS:
            self._kept.append(detection)
        else:
            self._beyond += 1

    def lines(self) -> list[str]:
        """Return what to say of all; nothing unless two detectors have records of one machine."""
        hosts = {each.host for each in self._kept if each.host}
        only = next(iter(hosts)) if len(hosts) == 1 else ""
        of_host: defaultdict[str, defaultdict[Detector, list[Detection]]] = defaultdict(lambda: defaultdict(list))
        for each in self._kept:
            of_host[each.host or only][each.detector].append(each)
        several = {host: records for host, records in of_host.items() if len(records) > 1}
        said = [
            f"{host}: {line}" if len(of_host) > 1 and host else line
            for host, records in sorted(several.items())
            for line in _told(compare_witnesses(records))
        ]
        if said and self._beyond:
            said.append(f"{plural(self._beyond, 'record')} beyond the first {MOST_RECORDS:,} not compared")
        return said


def _told(witnesses: Witnesses) -> Iterator[str]:
    """Yield who has how many, the known reasons, and those that somebody lacks without one."""
    yield from _first(list(lines(witnesses)))
    lacking = dict.fromkeys(has(each, witnesses.present) for each in witnesses.unexplained)
    yield from _first([f"{line}: no reason is known" for line in lacking])


def _first(said: Sequence[str]) -> Iterator[str]:
    yield from said[:_MOST_TOLD]
    if len(said) > _MOST_TOLD:
        yield f"and {len(said) - _MOST_TOLD:,} more"
