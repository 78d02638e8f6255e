"""How fast traces are scanned, beside dissect.etl in the same run: `python benchmarks/scan.py [DIRECTORY]`.

DIRECTORY holds the recordings, ../shared/traces by default. Rates are events per second; the ratios are what
counts, as machines differ and are shared. Takes some minutes and 2 GiB of temporary space.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import traces

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS: Final = 5
HEAD: Final = 64 << 20
"""dissect.etl gets the first bytes of a plain trace: its rate on those is its rate."""

MEASURE: Final = """
import statistics, sys, time
from etwdetect.sources.etl.reader import Trace
from etwdetect.offline import Scan
times = []
for _ in range(int(sys.argv[2])):
    started = time.process_time()
    with open(sys.argv[1], "rb", buffering=0) as file:
        scan = Scan([Trace(file, sys.argv[1])])
        found = sum(1 for _ in scan.detections())
    times.append(time.process_time() - started)
seconds = statistics.median(times)
peak = 0
try:
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) >> 10
except (OSError, IndexError):
    pass
print(scan.result().events_read, seconds, peak, found)
"""


def median_of(runs: int, run: Callable[[], float]) -> float:
    return statistics.median(run() for _ in range(runs))


def own(path: Path, runs: int = RUNS) -> tuple[float, int]:
    """Return our events per second of CPU time, the median of *runs*, and the most MiB of memory in use.

    The runs are in one process of its own, which has loaded everything after the first.
    """
    command = [sys.executable, "-c", MEASURE, str(path), str(runs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    events, seconds, peak, _found = done.stdout.split()
    return int(events) / float(seconds), int(peak)


def dissect(path: Path) -> float:
    """Return dissect.etl's events per second of CPU time, for each event's provider and time stamp.

    That is the least a detector must ask for; some events it can't give them of, and those count too.
    """
    from dissect.etl import ETL

    started, events = time.process_time(), 0
    with path.open("rb") as file:
        for record in ETL(file):
            events += 1
            with suppress(Exception):
                record.event.provider_id(), record.event.ts()
    return events / (time.process_time() - started)


def cold_start(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def beside_dissect(name: str, path: Path, head: Path, runs: int = RUNS) -> None:
    rate, peak = own(path, runs)
    theirs = dissect(head)
    print(f"{name:34} {rate:12,.0f} {theirs:12,.0f} {rate / theirs:8.0f} x {peak:8} MiB", flush=True)


def main() -> None:
    recordings = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/traces")
    print(f"{'trace':34} {'etwdetect/s':>12} {'dissect/s':>12} {'ratio':>10} {'most memory':>12}")
    for name in ("kernel-logger-win8.etl", "kernel-logger-server2022.etl", "kernel-process-win7.etl"):
        if (recordings / name).exists():
            beside_dissect(name, recordings / name, recordings / name)
        else:
            print(f"{name:34} not here: {recordings}")
    with tempfile.TemporaryDirectory() as folder:
        path, head = Path(folder, "noise.etl"), Path(folder, "head.etl")
        traces.noise(path)
        traces.noise(head, HEAD)
        beside_dissect("noise, 1 GiB, plain", path, head)
        path.unlink()
        traces.starts(path)
        rate, peak = own(path, 1)
        print(f"{'starts only, 1 GiB, plain':34} {rate:12,.0f} {'':12} {'':10} {peak:8} MiB")
        for remote in (0, 157):
            traces.images(path, remote)
            rate, peak = own(path)
            print(f"{f'65,536 images, {remote} remote':34} {rate:12,.0f} {'':12} {'':10} {peak:8} MiB")
    sample = str(Path(__file__).parent.parent / "samples" / "windbg-attach.etl")
    scan = median_of(9, lambda: cold_start([sys.executable, "-m", "etwdetect", "scan", sample]))
    click = median_of(9, lambda: cold_start([sys.executable, "-c", "import click"]))
    print(f"cold start on a small trace: {scan:.3f} s, {scan / click:.1f} x `python -c 'import click'`")


if __name__ == "__main__":
    main()
