"""Observations as lines of JSON: from the Windows side of the wine bench to the Linux side, and in evidence."""

from __future__ import annotations

import json
from typing import Any

from etwdetect.comparison.pairing import Equality
from etwdetect.comparison.result import Side
from etwdetect.core.rule import RemoteThread
from parity_tests.evaluation import Observation
from parity_tests.steps import ThreadRef
from parity_tests.windows.ids import RealIds


def dump(observation: Observation) -> str:
    """Return *observation*, whose ids must be RealIds, as a line of JSON."""
    ids = observation.ids
    assert isinstance(ids, RealIds)
    return json.dumps(
        {
            "etw": _side(observation.etw),
            "driver": _side(observation.driver),
            "notes": observation.notes,
            "minimal": {str(pid): name for pid, name in observation.minimal.items()},
            "processes": ids.processes,
            "threads": [[*thread, tid] for thread, tid in ids.threads.items()],
        }
    )


def load(line: str) -> Observation:
    """Return the observation in *line*."""
    document = json.loads(line)
    ids = RealIds(document["processes"], {ThreadRef(*thread): tid for *thread, tid in document["threads"]})
    etw, driver = _read(document["etw"]), _read(document["driver"])
    minimal = {int(pid): str(name) for pid, name in document["minimal"].items()}
    return Observation(etw, driver, Equality.LIVE, ids, tuple(map(str, document["notes"])), minimal)


def _side(side: Side) -> dict[str, Any]:
    records = [[record.time, *record[1:5]] for record in side.records]
    return {"records": records, "statistics": dict(side.statistics)}


def _read(document: dict[str, Any]) -> Side:
    return Side([RemoteThread(*record) for record in document["records"]], document["statistics"])
