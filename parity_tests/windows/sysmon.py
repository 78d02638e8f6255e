"""Sysmon beside the two detectors of the vm bench, where its service runs: what it logged of a scenario.

Sysmon is not controlled here: whoever set the machine up installed it, with a configuration of theirs. So what it
lacks is no fault of a detector: it is told in notes, and the events are kept as evidence.
"""

from __future__ import annotations

import io
import subprocess
import time
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.witnesses import compare_witnesses, has, lines
from etwdetect.core import filetime
from etwdetect.enrich.detection import Detection, Process
from etwdetect.offline.sysmon import SysmonRecording
from etwdetect.sources.sysmon import CHANNEL, RecordingForm
from etwdetect.windows import services

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector
    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario

_SERVICES: Final = ("Sysmon64", "Sysmon")
_DELAY_SECONDS: Final = 2.0
"""How long Sysmon gets to log what it saw: it writes its events in batches."""
_TIMEOUT_SECONDS: Final = 60.0


def is_running() -> bool:
    """Whether Sysmon's service runs here. SystemCallError where the service manager does not say."""
    return any(services.state(name) is services.State.RUNNING for name in _SERVICES)


def logged(since: int) -> bytes:
    """Return what Sysmon logged from the FILETIME *since* on, as XML. Raises OSError or SubprocessError."""
    time.sleep(_DELAY_SECONDS)
    query = f"*[System[TimeCreated[@SystemTime>='{filetime.iso_time(since)}']]]"
    command = [str(services.system_directory() / "wevtutil.exe"), "qe", CHANNEL, f"/q:{query}", "/f:xml"]
    # Nothing in it is anybody's input.
    done = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_SECONDS)  # noqa: S603
    return done.stdout


def told(scenario: Scenario, observation: Observation, log: bytes) -> Iterator[str]:
    """Yield what Sysmon says of *scenario*, beside what both detectors reported; *log* is that of `logged`."""
    records: dict[Detector, list[Detection]] = {
        "etw": _detections(observation.etw.records, "etw"),
        "driver": _detections(observation.driver.records, "driver"),
        "sysmon": list(SysmonRecording(io.BytesIO(log), RecordingForm.XML, "Sysmon").detections()),
    }
    found = compare_witnesses(records)
    if scenario.sysmon is not None:
        yield f"Sysmon is expected to differ: {scenario.sysmon.why}"
    yield from lines(found)
    for each in found.unexplained:
        alone = each.seen_by == ("sysmon",)
        yield f"{has(each, found.present)}{' (markers and other programs are among these)' if alone else ''}"


def _detections(records: Sequence[RemoteThread], detector: Detector) -> list[Detection]:
    return [Detection(each, detector, Process(each.creator_pid), Process(each.pid)) for each in records]
