"""The file bench: scans the timeline as an .etl file; the driver runs in the simulated kernel."""

from __future__ import annotations

from pathlib import Path
from struct import pack
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
from parity_tests.evaluation import Observation
from parity_tests.imagefiles import write_images
from parity_tests.simulators.build import library
from parity_tests.simulators.packed_events import classic
from parity_tests.timeline import expand

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.decode.layout import Value
    from parity_tests.scenario import Scenario
    from parity_tests.timeline import Timeline

_BUFFER_SIZE: Final = 8192
_DC_START: Final = 3
_STACK_TRACE64: Final = 6


class FileBench(Bench):
    """Writes each timeline to a temporary trace and scans it as `etwdetect scan` does."""

    name = "file"

    def __enter__(self) -> Self:
        library()
        return self

    def perform(self, scenario: Scenario) -> Observation:
        """Perform *scenario* and return what both detectors reported."""
        timeline = expand(scenario)
        bound = scenario.machine.table_bound
        with TemporaryDirectory() as name, (Path(name) / "timeline.etl").open("w+b") as file:
            folder = Path(name)
            write_images(folder)
            write_trace(file, timeline, scenario.machine.cpus)
            scan = Scan([Trace(file, f"{scenario.name}.etl")], bound, files=ImageFiles(folder))
            detections = list(scan.detections())
        records = [detection.thread for detection in detections]
        result = scan.result()
        etw = etw_side(scan.rule, records, result.events_lost, result.buffers_lost, detections)
        return Observation(etw, driver_side(timeline.kernel_events(), bound), Equality.EXACT, timeline.processes)


def write_trace(file: BinaryIO, timeline: Timeline, cpus: int) -> None:
    """Write the events that ETW logs of *timeline* to *file*, with separate buffers for each CPU."""
    options = TraceOptions(
        timeline.session_start, cpus=cpus, buffer_size=_BUFFER_SIZE, events_lost=timeline.events_lost
    )
    with TraceWriter(file, options) as writer:
        for entry in timeline.etw_entries():
            event = entry.to_etw()
            if isinstance(event, ImageLoad) and event.rundown:
                writer.write(_image_rundown(event), entry.cpu, PERFINFO64)
            else:
                writer.write(encode(event), entry.cpu, items=_items(entry.stack))


def _items(stack: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return the extended item with *stack*: a MatchId of 0, for nothing comes behind, and the frames."""
    return [(_STACK_TRACE64, pack(f"<Q{len(stack)}Q", 0, *stack))] if stack else []


def _image_rundown(event: ImageLoad) -> RawEvent:
    """Return the rundown event of an image, which only the system logger writes."""
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
