"""What watching live costs: ``python benchmarks/monitor.py [NAME...]``, some six minutes for all of it.

On Linux it starts itself in the Windows lab, over the stand-in for event tracing; there it measures. NAMES are of
the functions below that measure something. The stand-in's own work is on the same processors, and so is whatever
else the machine does: what counts are the ratios, and that nothing is lost. Under `taskset -c 0` it is
all on one.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.live.monitor import Monitor
    from parity_tests.simulators.simetw import RunningId, SimEtw

ROOT: Final = Path(__file__).resolve().parents[1]
ATTACKER, VICTIM, FIRST_PID = 400_004, 400_008, 1_000_000
PATH: Final = r"\Device\HarddiskVolume3\Windows\System32\kernelbase.dll"
KILLS: Final = 20


def life(stacks: tuple[tuple[int, bytes], ...] = ()) -> tuple[list[RawEvent], list[RunningId]]:
    """Return the fifty events of a process from start to exit, one of them a thread start, and what changes.

    The thread start has the extended items *stacks*.
    """
    from etwdetect.core.events import ImageLoad, ImageUnload, ProcessStart, ProcessStop, ThreadStart
    from etwdetect.sources.decode.encode import encode
    from etwdetect.sources.etl.writer import pack_items
    from parity_tests.simulators.simetw import RunningId

    pid = FIRST_PID
    bases = [0x7FF0_0000_0000 + number * 0x10_0000 for number in range(24)]
    events = [
        ProcessStart(0, ATTACKER, 4, pid, ATTACKER, image=PATH),
        ThreadStart(0, ATTACKER, 4, pid, pid + 4, 0x7FF0_0000_1234),
        *(ImageLoad(0, pid, base, 0x10_0000, 1, 2, PATH) for base in bases),
        *(ImageUnload(0, pid, base, 0x10_0000, PATH) for base in bases[:23]),
        ProcessStop(0, pid),
    ]
    running = [
        # Where the process id stands in each payload, so that every round is another process.
        RunningId(number, 16 if isinstance(event, (ImageLoad, ImageUnload)) else 0)
        for number, event in enumerate(events)
    ]
    running[1] = RunningId(1, len(pack_items(stacks)))  # which stand before the payload
    raws = [encode(event) for event in events]
    raws[1] = raws[1]._replace(stacks=stacks)
    return raws, running


def thread(tid: int) -> RawEvent:
    from etwdetect.core.events import ThreadStart
    from etwdetect.sources.decode.encode import encode

    return encode(ThreadStart(0, ATTACKER, 4, VICTIM, tid, 0x1000))


class Watched:
    """A monitor in this process that runs until *count* events came; *each* is called every turn.

    *tap* gets the events.
    """

    def __init__(
        self,
        feed: Callable[[], None],
        count: int,
        each: Callable[[Monitor], None] | None = None,
        tap: Callable[[list[Event]], None] | None = None,
        *,
        stacks: bool = False,
    ) -> None:
        from etwdetect.live.monitor import Monitor
        from etwdetect.live.settings import SessionConfig

        self.monitor = Monitor(lambda: False, print, tap=tap, config=SessionConfig(stacks=stacks))
        feeder = threading.Thread(target=feed)
        began = cpu = None
        with closing(self.monitor.poll()) as turns:
            next(turns)
            time.sleep(0.3)
            feeder.start()
            for _ in turns:
                if began is None and self.monitor.queue.received:
                    began, cpu = time.perf_counter(), time.process_time()
                if each:
                    each(self.monitor)
                if self.monitor.queue.received >= count and not len(self.monitor.queue):
                    break
            self.seconds = time.perf_counter() - (began or 0)
            self.cpu = time.process_time() - (cpu or 0)
        feeder.join()
        assert not list(self.monitor.stream.release())  # nothing here is a remote thread


def throughput(machine: SimEtw) -> None:
    """Print events a second: by the clock, and of this process's own time, which others can't take from it."""
    events, running = life()
    rounds = 20_000
    count = rounds * len(events)
    by_clock, own = [], []
    for _ in range(3):
        machine.reset()
        watched = Watched(lambda: machine.repeat(events, rounds, running=running, wait_for_consumer=True), count)
        assert watched.monitor.stream.rule.counts.first == rounds
        by_clock.append(count / watched.seconds)
        own.append(count / watched.cpu)
    print(f"events a second, one in 50 a thread start: {max(by_clock):,.0f} by the clock, the best of 3", end="; ")
    ours = statistics.median(own)
    print(f"{ours:,.0f} a second of its own time, the median")
    machine.reset()
    empty = empty_callbacks_own(machine)
    print(f"a ctypes callback that only counts: {empty:,.0f} a second of its own time", end="; ")
    print(f"{empty / ours:.1f} times ours")
    machine.reset()
    default = pywintraces_own(machine)
    print(f"pywintrace's default decoding of thread starts: {default:,.0f} a second of its own time", end="; ")
    print(f"1 to {ours / default:,.0f}")


def written(machine: SimEtw) -> None:
    """Print what an event takes, and how many are lost, with `--events` and without, as fast as they come."""
    from etwdetect.live.eventlog import EventLog

    events, running = life()
    rounds = 10_000
    count = rounds * len(events)
    for _ in range(3):
        for is_written in (False, True):
            machine.reset()
            with tempfile.TemporaryDirectory() as folder, closing(EventLog(Path(folder) / "events.jsonl")) as log:
                feed = partial(machine.repeat, events, rounds, running=running, wait_for_consumer=True)
                watched = Watched(feed, count, tap=log.write if is_written else None)
            spent = 1e6 * watched.cpu / watched.monitor.queue.received
            lost = watched.monitor.stream.lost.events
            what = "with --events" if is_written else "without"
            print(f"{what}: {spent:.1f} us of its own time an event, {lost:,} of {count:,} lost", flush=True)


def stacks(machine: SimEtw) -> None:
    """Print what call stacks cost a monitor that asks for them: 22 frames with each thread start, one event in 50.

    The machine logs the same events for both; the stand-in gives stacks to the session that asks for them.
    """
    from struct import pack

    frames = (*range(0xFFFF_F800_0000_1000, 0xFFFF_F800_0000_100A), *range(0x7FF9_0000_1000, 0x7FF9_0000_100C))
    events, running = life(((6, pack("<Q22Q", 0, *frames)),))
    rounds = 8_000
    count = rounds * len(events)
    own: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(5):
        for asked, found in own.items():
            machine.reset()
            feed = partial(machine.repeat, events, rounds, running=running, wait_for_consumer=True)
            watched = Watched(feed, count, stacks=asked)
            assert watched.monitor.stream.rule.counts.first == rounds
            found.append(count / watched.cpu)
    without, asked_for = (statistics.median(own[asked]) for asked in (False, True))
    print(
        f"events a second of its own time: {without:,.0f} without stacks, {asked_for:,.0f} with those of thread"
        f" starts: {100 * (1 - asked_for / without):.1f} % fewer"
    )


class Counting:
    """Takes the records of a session, and does nothing but count them."""

    def __init__(self) -> None:
        self.received = 0

    def on_record(self, _address: int) -> None:
        """Take the address of a record."""
        self.received += 1


def empty_callbacks_own(machine: SimEtw) -> float:
    """Return how many events a second a ctypes callback takes that only counts them."""
    from etwdetect.live.capture import Capture
    from etwdetect.live.settings import SessionConfig

    events, running = life()
    rounds, own = 20_000, []
    for _ in range(3):
        machine.reset()
        counting = Counting()
        capture = Capture(SessionConfig(), counting)
        with closing(capture):
            capture.start()
            time.sleep(0.3)
            began = time.process_time()
            machine.repeat(events, rounds, running=running, wait_for_consumer=True)
            capture.stop()
            while not capture.delivered:
                time.sleep(0.01)
            own.append(counting.received / (time.process_time() - began))
            assert counting.received >= rounds * len(events)
    return statistics.median(own)


def pywintraces_own(machine: SimEtw) -> float:
    """Return how many thread starts a second pywintrace hands over as it does by default, through TDH.

    The stand-in's TDH is a table in memory, so that this is faster than on Windows.
    """
    from etw import ETW, GUID, ProviderInfo

    seen: list[float] = []
    guid = GUID("{22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716}")
    provider = ProviderInfo("Microsoft-Windows-Kernel-Process", guid, any_keywords=0x70, all_keywords=0)
    job = ETW(providers=[provider], event_callback=lambda _: seen.append(time.process_time()))
    job.start()
    count = 5_000
    machine.repeat([thread(1)], count, wait_for_consumer=True)
    deadline = time.monotonic() + 60
    while len(seen) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    job.stop()
    return (len(seen) - 1) / (seen[-1] - seen[0])


def burst(machine: SimEtw) -> None:
    events, running = life()
    rounds = 2_000
    watched = Watched(lambda: machine.repeat(events, rounds, running=running), rounds * len(events))
    lost = watched.monitor.stream.lost
    print(f"a burst of {rounds * len(events):,}: {watched.monitor.queue.received:,} received, lost {lost[1:]}")


def memory(machine: SimEtw) -> None:
    import psutil

    events, running = life()
    rounds = 200_000
    million, process, sizes = 1_000_000, psutil.Process(), []

    def look(monitor: Monitor) -> None:
        if monitor.queue.received >= million * (len(sizes) + 1):
            sizes.append(process.memory_info().rss / (1 << 20))

    count = rounds * len(events)
    watched = Watched(lambda: machine.repeat(events, rounds, running=running, wait_for_consumer=True), count, look)
    print(f"{count:,} events in {watched.seconds:.0f} s, MiB in use after each million: ", end="")
    print(", ".join(f"{size:.0f}" for size in sizes), f"; growth after the first {max(sizes) - sizes[0]:.1f}")


def cpu(machine: SimEtw) -> None:
    per_second, seconds = 2_000, 15
    own = thread(1)._replace(pid=VICTIM)
    watched = Watched(
        lambda: machine.repeat([own], per_second * seconds, events_per_second=per_second), per_second * seconds
    )
    print(f"{per_second:,} thread starts a second: {100 * watched.cpu / watched.seconds:.1f} % of one core")


def start(*arguments: object) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "etwdetect", "monitor", "--format", "json", *map(str, arguments))
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def wait_for_consumer(machine: SimEtw, process: subprocess.Popen[str]) -> None:
    prefix = f"etwdetect-monitor-{process.pid}-"
    while not any(each.name.startswith(prefix) and each.consumers for each in machine.sessions()):
        time.sleep(0.02)


def latency(machine: SimEtw) -> None:
    from etwdetect.live.clock import filetime_now

    process = start()
    wait_for_consumer(machine, process)
    assert process.stdout
    late = []
    for number in range(60):
        time.sleep(random.uniform(0.05, 0.3))
        machine.log([thread(number)])
        line = process.stdout.readline()
        late.append((filetime_now() - int(json.loads(line)["Time"])) / 10_000)
    process.kill()
    process.wait()
    print(f"from event to line, ms: {statistics.median(late):.0f} median, {max(late):.0f} most, of {len(late)}")


def kills(machine: SimEtw) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "threads.jsonl"
        left = []
        for _ in range(KILLS):
            process = start("--output", output)
            wait_for_consumer(machine, process)
            until = time.monotonic() + random.uniform(0, 1.0)
            while time.monotonic() < until:
                machine.log([thread(number) for number in range(20)])
                time.sleep(0.01)
            process.kill()
            process.wait()
            left.append(len(machine.sessions()))
        process = start("--output", output, "--duration", 0.5)
        status = process.wait()
        lines = output.read_text("utf-8").splitlines(keepends=True)
        whole = sum(line.endswith("}\n") and bool(json.loads(line)) for line in lines)
        print(
            f"{KILLS} kills: {sorted(set(left))} sessions left after each, {len(machine.sessions())} after the"
            f" next run (status {status}); {whole:,} of {len(lines):,} lines are whole"
        )


MEASURES: Final[dict[str, Callable[[SimEtw], None]]] = {
    each.__name__: each for each in (throughput, written, stacks, burst, memory, cpu, latency, kills)
}


def measure(names: Sequence[str]) -> None:
    from parity_tests.simulators.simetw import SimEtw

    machine = SimEtw(ROOT / "build" / "simetw" / "simetw.dll")
    for name in names or MEASURES:
        machine.reset()
        MEASURES[name](machine)
        sys.stdout.flush()
    machine.reset()


def main() -> None:
    if sys.platform == "win32":
        measure(sys.argv[1:])
        return
    sys.path.insert(0, str(ROOT))
    from tools.windows_lab import open_lab
    from tools.windows_lab.wine import windows_path

    subprocess.run(("make", "-s", "-C", ROOT / "simetw"), check=True)
    with open_lab() as lab:
        program = windows_path(Path(__file__).resolve())
        with lab.start_python(program, *sys.argv[1:], env={"ETWDETECT_SIMETW": "benchmark"}) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.close()
            for line in process.stdout:
                print(line.decode().rstrip(), flush=True)
            sys.stderr.write(process.stderr.read().decode())
        sys.exit(process.returncode)


if __name__ == "__main__":
    main()
