"""What two threads of one process can do at once: ``python benchmarks/threads.py [DIRECTORY]``, a minute, Linux.

DIRECTORY holds recordings, ../shared/traces by default. A thread's processor time and the time for which it was
blocked, by the other one's hold of the interpreter, are what it would take on free processors; so it counts little
how busy the machine is.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import traces
from scan import decompress_whole, read_whole

from etwdetect import scan

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS: Final = 7


def spent() -> tuple[float, float]:
    """Return the seconds for which this thread ran, and those for which it waited for a processor."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    ran, waited, _ = path.read_text("ascii").split()
    return int(ran) / 1e9, int(waited) / 1e9


def seconds(job: Callable[[], object], threads: int) -> float:
    """Return what *job* takes on free processors, done once in each of so many *threads*."""
    took: list[float] = []
    together = threading.Barrier(threads)

    def run() -> None:
        together.wait()
        _, waited = spent()
        began = time.perf_counter()
        job()
        took.append(time.perf_counter() - began - (spent()[1] - waited))

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return max(took)


def compare(name: str, job: Callable[[], object]) -> None:
    job()
    one, two = (min(seconds(job, threads) for _ in range(RUNS)) for threads in (1, 2))
    print(f"{name:40} {one:6.3f} s; two threads do {2 * one / two:.2f} times as much", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="?", type=Path, default=Path("../shared/traces"))
    warnings.simplefilter("ignore")  # of what is in the traces
    win8 = parser.parse_args().recordings / "kernel-logger-win8.etl"
    if win8.exists():
        compare("decompressing a compressed trace", lambda: decompress_whole(win8))
        compare("scanning it", lambda: list(scan(win8)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "made.etl")
        traces.noise(path, 64 << 20)
        compare("reading 64 MiB, ten times", lambda: [read_whole(path) for _ in range(10)])
        compare("scanning them: mixed noise", lambda: list(scan(path)))
        traces.starts(path, 32 << 20)
        compare("scanning 32 MiB of nothing but starts", lambda: list(scan(path)))
        traces.recording(path, method=0)
        compare("scanning a plain recording", lambda: list(scan(path)))


if __name__ == "__main__":
    main()
