"""The evidence of a run as one .zip, and the results read back from it: the same verdict, on any system.

| in the .zip | what |
|---|---|
| `evidence.json` | what ran where: versions, and the subjects in their order |
| `results.json` | the results, as `--json` writes them |
| `N/scenario.toml` | the scenario of subject N |
| `N/observation.json` | what both detectors reported, with the statistics and the ids of the scenario's names |
| `N/etw.json`, `N/driver.json` | the records of each detector, as `--format json` writes them |
| `N/events.jsonl` | all events of the session, where the bench has one: an input of `etwdetect scan` |
| `N/sysmon.xml` | what Sysmon logged, where its service ran: an input of `scan` and `parity compare` |
"""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final, Self

from etwdetect.comparison import result_files
from etwdetect.comparison.result import Result
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.files import open_file
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json
from parity_tests import loading
from parity_tests.evaluation import evaluate
from parity_tests.windows import exchange, machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from etwdetect.comparison.result import Side
    from etwdetect.enrich.detection import Detector
    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario

SCHEMA_VERSION: Final = 1

_INDEX: Final = "evidence.json"
_RESULTS: Final = "results.json"
_MOST_BYTES: Final = 64 << 20
"""The largest document that is read back; a scenario of 20,000 remote threads makes about 2 MB."""


class EvidenceError(EtwDetectError):
    """An evidence file cannot be read, or what it holds is not evidence."""


class Evidence:
    """Collects a run into the .zip at *path*, within a ``with`` block; what was added by its end is written.

    The .zip appears at its end, whole, unless there is nothing to write. Raises EvidenceError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + ".part")
        self.recordings = path.with_name(path.name + ".events")
        """A folder for recordings, each called as its scenario, with .jsonl; removed at the end."""
        self._results: list[Result] = []
        self._versions: dict[str, str] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self.recordings, ignore_errors=True)  # of a run that was killed
        try:
            self.recordings.mkdir(parents=True)
            self._archive = zipfile.ZipFile(self._unfinished, "w", zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise EvidenceError(f"{self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
        except OSError as failure:
            raise EvidenceError(f"{self._path} cannot be written: {failure.strerror}") from failure
        finally:
            self._unfinished.unlink(missing_ok=True)
            shutil.rmtree(self.recordings, ignore_errors=True)

    def _finish(self) -> None:
        with self._archive as archive:
            subjects = [
                {"Scenario": each.subject, "Bench": each.bench, "Status": each.status} for each in self._results
            ]
            index = {"SchemaVersion": SCHEMA_VERSION, "Versions": self._versions, "Subjects": subjects}
            archive.writestr(_INDEX, json.dumps(index, indent=1) + "\n")
            archive.writestr(_RESULTS, result_files.to_json(self._results))
        if self._results:
            self._unfinished.replace(self._path)

    def add(self, scenario: Scenario, result: Result, observation: Observation | None) -> None:
        """Add a subject: its *result*, and what was observed unless it was skipped or could not be performed."""
        self._versions = self._versions or machine.versions()
        folder = str(len(self._results))
        self._results.append(result)
        if scenario.path is not None:
            self._archive.writestr(f"{folder}/scenario.toml", scenario.path.read_text("utf-8"))
        if observation is not None:
            self._archive.writestr(f"{folder}/observation.json", exchange.dump(observation) + "\n")
            self._archive.writestr(f"{folder}/etw.json", _lines(observation.etw, "etw"))
            self._archive.writestr(f"{folder}/driver.json", _lines(observation.driver, "driver"))
        for ending, name in ((".jsonl", "events.jsonl"), (".sysmon.xml", "sysmon.xml")):
            recording = self.recordings / f"{scenario.name}{ending}"
            if recording.is_file():
                self._archive.write(recording, f"{folder}/{name}")
                recording.unlink()


def _lines(side: Side, detector: Detector) -> str:
    return "".join(
        to_json(Detection(record, detector, Process(record.creator_pid), Process(record.pid))) + "\n"
        for record in side.records
    )


def replay(path: Path) -> Iterator[Result]:
    """Yield the results of the evidence at *path*, judged anew. Raises EvidenceError or ScenarioError."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            yield from _replay(archive)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise EvidenceError(f"{path} cannot be read: {error}") from error
    except _MalformedError as error:
        raise EvidenceError(f"{path}: {error}") from error


class _MalformedError(Exception):
    """What is wrong with which part of an evidence file."""


def _replay(archive: zipfile.ZipFile) -> Iterator[Result]:
    index, results = _document(archive, _INDEX), _document(archive, _RESULTS)
    if index.get("SchemaVersion") != SCHEMA_VERSION:
        raise _MalformedError(f"{_INDEX} has schema version {index.get('SchemaVersion')!r}; this reads version 1")
    try:
        recorded = [_Recorded(each) for each in results["Results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _MalformedError(f"{_RESULTS} is not a list of results: {error!r}") from error
    for number, each in enumerate(recorded):
        yield _judge(archive, str(number), each)


class _Recorded:
    """A result as it was when the evidence was recorded."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.subject, self.bench = str(document["Subject"]), str(document["Bench"])
        self.seconds = float(document["Seconds"])
        self.complaints = tuple(map(str, document["Complaints"]))
        self.skipped = None if document.get("Skipped") is None else str(document["Skipped"])


def _judge(archive: zipfile.ZipFile, folder: str, recorded: _Recorded) -> Result:
    observed = f"{folder}/observation.json"
    if observed not in archive.namelist():
        return Result(
            recorded.subject,
            recorded.bench,
            recorded.seconds,
            complaints=recorded.complaints,
            skipped=recorded.skipped,
        )
    text = _read(archive, f"{folder}/scenario.toml")
    scenario = loading.parse(text, recorded.subject)
    try:
        observation = exchange.load(_read(archive, observed))
        return evaluate(scenario, recorded.bench, observation, recorded.seconds)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _MalformedError(f"{observed} is not an observation: {error!r}") from error


def _document(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    try:
        document = json.loads(_read(archive, name))
    except (ValueError, RecursionError) as error:
        raise _MalformedError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _MalformedError(f"{name} is not an object")
    return document


def _read(archive: zipfile.ZipFile, name: str) -> str:
    try:
        with archive.open(name) as file:
            data = file.read(_MOST_BYTES + 1)
    except KeyError:
        raise _MalformedError(f"{name} is missing") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise _MalformedError(f"{name}: {error}") from error
    if len(data) > _MOST_BYTES:
        raise _MalformedError(f"{name} has more than {_MOST_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _MalformedError(f"{name} is not UTF-8: {error}") from error
