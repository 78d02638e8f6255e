"""Time and memory of inputs that are small and once took much of both, at one size and at twice that size.

    python benchmarks/bounds.py [SIZE]

SIZE, 1 by default, multiplies all sizes. The time is the processor's, the memory the peak of the process.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from struct import pack

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from etwdetect.core.events import UNKNOWN_ID, ImageUnload, ProcessRundown, ThreadStart  # noqa: E402
from etwdetect.core.raw import STACK_WALK, RawEvent  # noqa: E402
from etwdetect.sources.decode.encode import encode  # noqa: E402
from etwdetect.sources.decode.stack_walk import KERNEL_BY_KEY  # noqa: E402
from etwdetect.sources.etl.buffers import HEADER_SIZE  # noqa: E402
from etwdetect.sources.etl.writer import PERFINFO64, TraceOptions, TraceWriter  # noqa: E402
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, to_row  # noqa: E402
from tests.bytes_by_hand import buffer_header  # noqa: E402
from tests.traces_by_writer import SECOND, START, attack, write_trace  # noqa: E402

SCAN = """
import sys, time
from etwdetect.cli import main
main(["scan", "--format", "classic", "-o", sys.argv[2], sys.argv[1]])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time(), int(peak.split()[1]) / 1024, file=sys.stdout)
"""


def images_to_come(path: Path, count: int) -> None:
    hits = [ThreadStart(START + 10 * SECOND + n, 100, 101, 200, 1000 + n, 0x7000_0000) for n in range(count)]
    images = [
        ImageUnload(START + 30 * SECOND, 200, 0x1000_0000 + 0x1000 * n, 0x1000, "a.dll") for n in range(count)
    ]
    write_trace(path, [*attack()[:2], *hits, *images])


def waiting_hits(path: Path, count: int) -> None:
    hits = [ThreadStart(START + 10 * SECOND + n, 100, 101, 200, 1000 + n, 0x5000) for n in range(count)]
    write_trace(path, [*attack()[:2], *hits])


def empty_buffers(path: Path, count: int) -> None:
    data = write_trace(path, attack(), buffer_size=1024).read_bytes()
    path.write_bytes(data[:1024] + buffer_header(HEADER_SIZE, HEADER_SIZE) * count + data[1024:])


def interleaved(path: Path, count: int) -> None:
    def rows(number: int) -> list[str]:
        recording = Recording("H", str(number))
        events = (
            RecordingStart(START, START),
            ProcessRundown(START, 200),
            ThreadStart(START + SECOND, 1, 2, 200, 3),
        )
        return [json.dumps(to_row(recording, seq, event)) + "\n" for seq, event in enumerate(events)]

    lines = [rows(number) for number in range(count)]
    path.write_bytes(gzip.compress("".join(each[at] for at in range(3) for each in lines).encode()))


def call_stacks(path: Path, count: int) -> None:
    """Stacks by seven keys, which are defined again and again, for 2,000 remote threads."""
    hits = [ThreadStart(START + 10 * SECOND + n, 100, 101, 200, 1000 + n, 0x7000_0000) for n in range(2_000)]
    frames = pack("<12Q", *(0xFFFF_F800_0000_0000 + 64 * n for n in range(12)))
    options = TraceOptions(START)
    with path.open("w+b") as file, TraceWriter(file, options) as writer:
        for event in (*attack()[:2], *hits):
            writer.write(encode(event))
        for number in range(count // 2):
            hit, key = hits[number % len(hits)], pack("<Q", number % 7)
            of_event = pack("<qII", writer.raw_time(hit.time), 100, 101)
            for opcode, payload in ((KERNEL_BY_KEY, of_event + key), (35, key + frames)):
                raw = RawEvent(STACK_WALK, 0, 2, opcode, hit.time + opcode, UNKNOWN_ID, UNKNOWN_ID, 8, payload)
                writer.write(raw, header_type=PERFINFO64)


KINDS = {
    "images to come": (images_to_come, "a.etl", 5_000),
    "remote threads that wait": (waiting_hits, "a.etl", 50_000),
    "buffers without records": (empty_buffers, "a.etl", 500_000),
    "records of call stacks": (call_stacks, "a.etl", 250_000),
    "interleaved recordings": (interleaved, "a.jsonl.gz", 3_000),
}


def main() -> None:
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(f"{'kind':26} {'count':>9} {'KB':>7} {'seconds':>8} {'MiB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, (make, name, count) in KINDS.items():
            for factor in (1, 2):
                path = Path(folder, name)
                make(path, int(count * size * factor))
                command = [sys.executable, "-c", SCAN, str(path), str(Path(folder, "out"))]
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                seconds, peak = map(float, done.stdout.split())
                kilobytes = path.stat().st_size / 1024
                print(f"{kind:26} {int(count * size * factor):9,} {kilobytes:7.0f} {seconds:8.2f} {peak:6.0f}")


if __name__ == "__main__":
    main()
