"""The file bench: the story is written as an .etl file and scanned, the driver runs in the simulated kernel."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, Final

from etwdetect.decode.encode import encode
from etwdetect.etl.reader import Trace
from etwdetect.etl.writer import TraceOptions, TraceWriter
from etwdetect.offline import Scan
from etwdetect.parity.benches import Bench
from etwdetect.parity.benches.sides import driver_side, etw_side
from etwdetect.parity.comparison import Equality
from etwdetect.parity.simbuild import library
from etwdetect.parity.story import tell
from etwdetect.parity.verdict import Observation

if TYPE_CHECKING:
    from typing import Self

    from etwdetect.parity.scenario import Scenario
    from etwdetect.parity.story import Story

_BUFFER_SIZE: Final = 8192


class FileBench(Bench):
    """Writes each story to a temporary trace, and scans it as `etwdetect scan` does."""

    name = "file"

    def __enter__(self) -> Self:
        library()
        return self

    def perform(self, scenario: Scenario) -> Observation:
        """Let the story happen before both detectors."""
        story = tell(scenario)
        bound = scenario.machine.table_bound
        with TemporaryDirectory() as folder, (Path(folder) / "story.etl").open("w+b") as file:
            write_trace(file, story, scenario.machine.cpus)
            scan = Scan([Trace(file, f"{scenario.name}.etl")], bound)
            records = [detection.thread for detection in scan.detections()]
        etw = etw_side(scan.rule, records, scan.events_lost, scan.buffers_lost)
        return Observation(etw, driver_side(story.kernel_events(), bound), Equality.EXACT, story.cast)


def write_trace(file: BinaryIO, story: Story, cpus: int) -> None:
    """Write what ETW logs of *story* to *file*, each CPU to buffers of its own."""
    options = TraceOptions(story.session_start, cpus=cpus, buffer_size=_BUFFER_SIZE, events_lost=story.events_lost)
    with TraceWriter(file, options) as writer:
        for fact in story.etw_facts():
            writer.write(encode(fact.to_etw()), fact.cpu)


bench = FileBench
