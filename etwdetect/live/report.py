"""Packs what the doctor found into one file, to be sent to whoever can make sense of it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from etwdetect._version import __version__
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live import ownership
from etwdetect.live.clock import filetime_now
from etwdetect.live.selftest import CHILD
from etwdetect.live.session import Session
from etwdetect.live.settings import SessionConfig
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from etwdetect.windows import accounts, tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.live.doctor import Doctor, Finding
    from etwdetect.live.selftest import Outcome
    from etwdetect.results.privacy import Privacy

RECORDING: Final = "recording.etl"
_RECORDED_SECONDS: Final = 1.0
_PACKAGES: Final = ("pywintrace", "psutil", "click")


def write_report(path: Path, doctor: Doctor, findings: Sequence[Finding], privacy: Privacy) -> None:
    """Write the .zip *path*: the findings, versions, settings, the log, and a short recording.

    `scan` reads the recording; where Windows records none, it has the events that the tests received, perhaps
    none. What *privacy* hides is in none of the files. Raises EtwDetectError where *path* cannot be written.
    """
    recording = _recording(doctor, privacy)
    lines = [f"{finding.result.value:<8}{finding.what}: {finding.words}" for finding in findings]
    texts = {
        "doctor.txt": "\n".join(lines),
        "doctor.json": json.dumps(_details(doctor, findings), indent=2),
        "log.txt": "\n".join(doctor.log),
    }
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(name, f"{privacy.text(text)}\n")
            archive.writestr(RECORDING, privacy.trace(recording))
    except OSError as error:
        raise EtwDetectError(f"{path}: {error.strerror}") from error


def _details(doctor: Doctor, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "etwdetect": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "windows_build": tracing.build(),
        "processors": os.cpu_count(),
        "elevated": accounts.is_elevated(),
        "findings": [{"what": each.what, "result": each.result.value, "words": each.words} for each in findings],
        "sessions": [_session(each) for each in doctor.outcomes],
    }


def _session(outcome: Outcome) -> dict[str, Any]:
    return {
        "what": outcome.what,
        "failure": outcome.failure,
        "restrictions": outcome.restrictions,
        "settings": None if outcome.settings is None else outcome.settings._asdict(),
        "delay_ms": outcome.delay,
        "events": len(outcome.raws),
        "thread_start_us": outcome.microseconds,
        "stacks": None if outcome.stacks is None else outcome.stacks._asdict(),
    }


def _recording(doctor: Doctor, privacy: Privacy) -> bytes:
    """Return a trace of a process's life; with command lines it is one of a system logger, which has them."""
    with tempfile.TemporaryDirectory(prefix="etwdetect-") as folder:
        file = Path(folder) / RECORDING
        session = Session(
            ownership.new_name("doctor"), SessionConfig(kernel_logger=privacy.command_lines, file=file)
        )
        try:
            session.start()
        except EtwDetectError as error:
            doctor.note(f"no recording: {error}")
            return _written(doctor.outcomes)
        try:
            if not privacy.command_lines:
                session.capture_state()
            with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:  # noqa: S603
                time.sleep(_RECORDED_SECONDS)
                child.kill()
            doctor.note(f"recorded, {session.stop()}")
        except EtwDetectError as error:
            doctor.note(f"the recording was cut short: {error}")
        finally:
            with contextlib.suppress(EtwDetectError):
                session.stop()
        try:
            return file.read_bytes()
        except OSError as error:
            doctor.note(f"no recording: {error.strerror}")
            return _written(doctor.outcomes)


def _written(outcomes: Sequence[Outcome]) -> bytes:
    """Return a trace with the provider's events that the tests received."""
    raws = next((outcome.raws for outcome in outcomes if outcome.raws), [])
    events = [raw for raw in raws if raw.provider == KERNEL_PROCESS]
    start = min((event.time for event in events), default=filetime_now())
    stream = io.BytesIO()
    with TraceWriter(stream, TraceOptions(start)) as writer:
        for event in events:
            writer.write(event)
    return stream.getvalue()
