"""The file bench: the story is written as an .etl file and scanned, the driver runs in the simulated kernel."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, Final

from etwdetect.comparison.pairing import Equality
from etwdetect.core.events import ImageLoad
from etwdetect.core.raw import IMAGE
from etwdetect.enrich.imagefiles import ImageFiles
from etwdetect.offline import Scan
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.writer import PERFINFO64, TraceOptions, TraceWriter
from parity_tests.benches import Bench
from parity_tests.benches.sides import driver_side, etw_side
from parity_tests.imagefiles import write_images
from parity_tests.simulators.build import library
from parity_tests.simulators.packed_events import classic
from parity_tests.timeline import tell
from parity_tests.verdict import Observation

if TYPE_CHECKING:
    from typing import Self

    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.decode.layout import Value
    from parity_tests.scenario import Scenario
    from parity_tests.timeline import Story

_BUFFER_SIZE: Final = 8192
_DC_START: Final = 3


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
        with TemporaryDirectory() as name, (Path(name) / "story.etl").open("w+b") as file:
            folder = Path(name)
            write_images(folder)
            write_trace(file, story, scenario.machine.cpus)
            scan = Scan([Trace(file, f"{scenario.name}.etl")], bound, files=ImageFiles(folder))
            detections = list(scan.detections())
        records = [detection.thread for detection in detections]
        kinds = [detection.kind for detection in detections]
        result = scan.result()
        etw = etw_side(scan.rule, records, result.events_lost, result.buffers_lost, kinds)
        return Observation(etw, driver_side(story.kernel_events(), bound), Equality.EXACT, story.cast)


def write_trace(file: BinaryIO, story: Story, cpus: int) -> None:
    """Write what ETW logs of *story* to *file*, each CPU to buffers of its own."""
    options = TraceOptions(story.session_start, cpus=cpus, buffer_size=_BUFFER_SIZE, events_lost=story.events_lost)
    with TraceWriter(file, options) as writer:
        for fact in story.etw_facts():
            event = fact.to_etw()
            if isinstance(event, ImageLoad) and event.rundown:
                writer.write(_listed(event), fact.cpu, PERFINFO64)
            else:
                writer.write(encode(event), fact.cpu)


def _listed(event: ImageLoad) -> RawEvent:
    """Return the listing of an image, which the system logger alone has an event for."""
    values: dict[str, Value] = {
        "ProcessId": event.pid,
        "ImageBase": event.base,
        "ImageSize": event.size,
        "ImageCheckSum": event.checksum,
        "TimeDateStamp": event.time_date_stamp,
        "ImageName": event.image,
    }
    return classic(IMAGE, _DC_START, values)._replace(time=event.time)


bench = FileBench
