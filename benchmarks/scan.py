"""How fast traces are scanned, beside dissect.etl in the same run: `python benchmarks/scan.py [DIRECTORY]`.

DIRECTORY holds the recordings, ../shared/traces by default. With `--before CHECKOUT`, each trace is scanned by the
code of an earlier commit, too. Rates are events per second of CPU time, medians of five runs; the ratios are what
counts, as machines differ and are shared. Takes some minutes and 2 GiB of temporary space.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import traces

from etwdetect.sources.etl import buffers, compression

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS: Final = 5
HEAD: Final = 64 << 20
"""dissect.etl gets the first bytes of a plain trace: its rate on those is its rate."""

MEASURE: Final = """
import gc, statistics, sys, threading, time
from etwdetect.sources.etl.reader import Trace
from etwdetect.offline import Scan
peak = 0
def watch():
    global peak
    while True:
        try:
            status = open("/proc/self/status").read()
        except OSError:
            return
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]) >> 10)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
times = []
for _ in range(int(sys.argv[2])):
    started = time.process_time()
    with open(sys.argv[1], "rb", buffering=0) as file:
        scan = Scan([Trace(file, sys.argv[1])])
        found = sum(1 for _ in scan.detections())
    times.append(time.process_time() - started)
    events_read = scan.result().events_read
    del scan, file  # a command scans once: what is left of a scan counts as none of the next
    gc.collect()
print(events_read, statistics.median(times), peak, found)
"""


class Measured(NamedTuple):
    """Events per second of CPU time, the seconds, and the most MiB of anonymous memory (on Linux)."""

    rate: float
    seconds: float
    peak: int


def median_of(runs: int, run: Callable[[], float]) -> float:
    return statistics.median(run() for _ in range(runs))


def own(path: Path, runs: int = RUNS, checkout: Path | None = None) -> Measured:
    """Scan *path*, with the code in *checkout* where that is given; the medians of *runs*.

    The runs are in one process of its own, which has loaded everything after the first.
    """
    command = [sys.executable, "-c", MEASURE, str(path), str(runs)]
    environment = os.environ | ({"PYTHONPATH": str(checkout.absolute())} if checkout else {})
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=checkout)
    events, seconds, peak, _found = done.stdout.split()
    return Measured(int(events) / float(seconds), float(seconds), int(peak))


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


def cpu_time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def read_whole(path: Path) -> None:
    """Read the file into one buffer."""
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def decompress_whole(path: Path) -> None:
    """Decompress all buffers of the trace."""
    with path.open("rb", buffering=0) as file:
        method = 0
        while head := file.read(buffers.HEADER_SIZE):
            header = buffers.parse(head)
            method = method or header.state & 0xFFFF
            body = file.read(header.size - buffers.HEADER_SIZE)
            if header.compressed:
                compression.decompress(body, header.filled - buffers.HEADER_SIZE, method)


class Table:
    """Prints a row for each trace; *before* is the checkout of an earlier commit."""

    def __init__(self, before: Path | None) -> None:
        self._before = before
        titles = ("etwdetect/s", "before/s", "ratio", "dissect/s", "ratio", "memory")
        print(f"{'trace':32}" + "".join(f"{title:>13}" for title in titles))

    def row(self, name: str, path: Path, head: Path | None = None, runs: int = RUNS) -> Measured:
        """Scan *path*; dissect.etl and the earlier commit read *head*, by default the same."""
        now = own(path, runs)
        before = own(head or path, min(runs, 3), self._before).rate if self._before else 0.0
        theirs = dissect(head or path)
        cells = (
            f"{now.rate:,.0f}",
            f"{before:,.0f}" if before else "",
            f"{now.rate / before:.1f}" if before else "",
        )
        cells = (*cells, f"{theirs:,.0f}", f"{now.rate / theirs:.0f}", f"{now.peak} MiB")
        print(f"{name:32}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
        return now


class Many(NamedTuple):
    """Seconds by the clock, the processor time of each process, and the output."""

    clock: float
    processes: list[float]
    output: bytes


def scan_many(folder: Path, jobs: int) -> Many:
    """Scan all of *folder*. On a busy machine the clock says little; the processes' own times say what is lost."""
    options = ("--utc", "--format", "json", "--jobs", str(jobs))
    command = [sys.executable, "-m", "etwdetect", "scan", *options, str(folder)]
    times: dict[str, float] = {}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        while running.poll() is None:
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
            with suppress(OSError):  # it ended meanwhile
                for process in (str(running.pid), *children.read_text().split()):
                    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
                    times[process] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        output.seek(0)
        return Many(seconds, list(times.values()), output.read())


def print_many(name: str, trace: Path, count: int, folder: Path) -> None:
    """Print what several jobs gain for *count* copies of *trace*."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.etl").hardlink_to(trace)
    one, several = (scan_many(folder, jobs) for jobs in (1, os.cpu_count() or 1))
    total = sum(several.processes)
    print(
        f"{count} {name}: {total / sum(one.processes):.2f} x the processor time of one job, of which the busiest"
        f" process has {max(several.processes) / total:.0%}; by the clock {one.clock / several.clock:.2f} x;"
        f" same output: {one.output == several.output}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="?", type=Path, default=Path("../shared/traces"))
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    options = parser.parse_args()
    table = Table(options.before)
    for name in ("kernel-logger-win8.etl", "kernel-logger-server2022.etl", "kernel-process-win7.etl"):
        path = options.recordings / name
        if not path.exists():
            print(f"{name:32} not here: {options.recordings}")
            continue
        measured = table.row(name, path)
        if "win8" in name:
            alone = median_of(RUNS, lambda path=path: cpu_time(lambda: decompress_whole(path)))
            print(f"{'':32} {measured.seconds / alone:.1f} x the time of decompressing it")
    with tempfile.TemporaryDirectory() as folder:
        path, head = Path(folder, "made.etl"), Path(folder, "head.etl")
        traces.noise(path)
        traces.noise(head, HEAD)
        measured = table.row("noise, 1 GiB, plain", path, head)
        alone = median_of(RUNS, lambda: cpu_time(lambda: read_whole(path)))
        print(f"{'':32} {measured.seconds / alone:.1f} x the time of reading it into one buffer")
        traces.starts(path)
        traces.starts(head, HEAD)
        table.row("starts only, 1 GiB, plain", path, head, 1)
        traces.recording(path)
        table.row("a recording, compressed", path)
        for remote in (0, 4_000, 20_000):
            traces.images(path, remote)
            table.row(f"65,536 images, {remote:,} remote", path)
        traces.images(path, 4_000, 920_000)
        table.row("920,000 images, 4,000 remote", path, runs=1)
        traces.images(path, 3_000, 20_000)
        print_many("traces with 3,000 remote threads", path, 10, Path(folder, "remote"))
        traces.recording(path, 32_000, method=0)
        print_many(f"traces of {path.stat().st_size >> 20} MiB", path, 200, Path(folder, "many"))
    sample = str(Path(__file__).parent.parent / "samples" / "windbg-attach.etl")
    scan = median_of(9, lambda: cold_start([sys.executable, "-m", "etwdetect", "scan", sample]))
    click = median_of(9, lambda: cold_start([sys.executable, "-c", "import click"]))
    print(f"cold start on a small trace: {scan:.3f} s, {scan / click:.1f} x `python -c 'import click'`")


if __name__ == "__main__":
    main()
