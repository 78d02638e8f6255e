"""Scans several traces at once, in processes, and hands out what they tell in the order of the inputs.

A process scans one trace after the other and sends what it finds through a pipe. It waits where nobody reads: so
nothing piles up. What it finds is shown by the command itself, which does all the rest.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from etwdetect.cli.sources import Source, TraceSource
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.enrich.kind_rules import load
from etwdetect.enrich.kinds import Kinds
from etwdetect.offline import Scan, summary
from etwdetect.offline.inputs import Input
from etwdetect.sources.packed import sha256, stream_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path
    from typing import Self

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.paths import Drives
    from etwdetect.offline.result import ScanResult

LEAST: Final = 16 << 20
"""From how many bytes of traces on several processes pay off, as each takes 0.2 s to start."""

_AT_ONCE: Final = 256
"""How many remote threads are sent at a time."""

_AHEAD: Final = 2
"""How many traces are given to a process before the results of the first one are read."""

_PATIENCE: Final = 5.0
"""How many seconds a process has to end by itself."""

_MAGIC: Final = 6


class ScanOptions(NamedTuple):
    """What the user chose for the scans."""

    rules: Path | None
    drives: Drives
    host: str | None
    hash: bool


def cores() -> int:
    """Return how many processes can run at once."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def can_be_sent(found: object) -> TypeGuard[Input]:
    """Whether *found* is a plain trace file: what is packed counts against a limit of the whole command."""
    if not isinstance(found, Input) or found.place.spool is not None or found.place.member is not None:
        return False
    try:
        with found.path.open("rb", buffering=0) as file:
            return stream_kind(file.read(_MAGIC)) is None
    except OSError:
        return False


def size_of(inputs: Sequence[Input]) -> int:
    """Return how many bytes the files of *inputs* have."""
    size = 0
    for each in inputs:
        with contextlib.suppress(OSError):
            size += each.path.stat().st_size
    return size


class Jobs:
    """Up to *count* processes that scan *inputs*, whose results are asked for in order, by `next_source`."""

    def __init__(self, inputs: Sequence[Input], options: ScanOptions, count: int) -> None:
        self._waiting = deque(inputs)
        self._workers: list[_Worker] = []
        self._given: deque[_Worker] = deque()
        """The process of each input that was given out, in the order of the inputs."""
        self._options = options
        self._count = min(count, len(inputs))

    def __enter__(self) -> Self:
        """Start the processes."""
        try:
            for _ in range(self._count):
                self._workers.append(_Worker(self._options))
        except BaseException:
            self.__exit__()
            raise
        self._give_out()
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, whatever they do."""
        for worker in self._workers:
            worker.end()

    def next_source(self) -> _JobSource:
        """Return the next of the inputs, scanned; NotATraceError where it can't be read at all."""
        worker = self._given[0]
        try:
            return _JobSource(worker, self._done)
        except BaseException:
            self._done()
            raise

    def _done(self) -> None:
        self._given.popleft().done()
        self._give_out()

    def _give_out(self) -> None:
        while self._waiting:
            worker = min(self._workers, key=lambda worker: len(worker.given))
            if len(worker.given) >= _AHEAD:
                return
            worker.give(self._waiting.popleft())
            self._given.append(worker)


class _JobSource(TraceSource):
    """A trace that another process scans."""

    def __init__(self, worker: _Worker, done: Callable[[], None]) -> None:
        kind, value = worker.receive()
        if kind == "unread":
            raise NotATraceError(*value)
        if kind == "end":
            raise value
        self._worker = worker
        self._done = done
        self._result: ScanResult = value
        self._is_done = False
        Source.__init__(self, summary.name(self._result))

    def result(self) -> ScanResult:
        """Return what was found so far; from the first item on, all but what the rule finds is complete."""
        return self._result

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that the scan finds, with the name of the trace."""
        return self._until_interrupted(self._received())

    def drain(self) -> None:
        """Pass over what was not asked for, so that the results of the next trace can be."""
        with contextlib.suppress(Exception):  # it would have been told
            for _ in self._received():
                pass

    def _received(self) -> Iterator[Detection]:
        while not self._is_done:
            kind, value = self._worker.receive()
            if kind == "found":
                yield from value
            elif kind == "result":
                self._result = value
            else:
                self._is_done = True
                self._done()
                if value is not None:
                    raise value

    def _stop(self) -> None:
        self._worker.stop()


class _Worker:
    """A process that scans what it is given; *given* is what of it is not done."""

    def __init__(self, options: ScanOptions) -> None:
        self.given: deque[Input] = deque()
        self._options = options
        self._died = False
        self._start()

    def _start(self) -> None:
        import multiprocessing  # noqa: PLC0415 (lazy import: few commands start processes)

        spawn = multiprocessing.get_context("spawn")  # the threads of sinks may run: a fork would copy their locks
        self._results, results = spawn.Pipe(duplex=False)
        orders, self._orders = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_work, args=(orders, results, self._options), daemon=True)
        self._process.start()
        orders.close()
        results.close()

    def give(self, found: Input) -> None:
        """Have it scan *found*, behind what it was given before."""
        self.given.append(found)
        self._order(found)

    def done(self) -> None:
        """Take that what it was given first is done; the rest is given anew where the process died."""
        self.given.popleft()
        if self._died and self.given:
            self.end()
            self._start()
            self._died = False
            for found in self.given:
                self._order(found)

    def stop(self) -> None:
        """Have it read no further."""
        self._order(None)

    def _order(self, order: Input | None) -> None:
        with contextlib.suppress(OSError):  # it ended: `receive` will tell
            self._orders.send(order)

    def receive(self) -> tuple[str, Any]:
        """Return the next of what it sends: what it is, and a value."""
        try:
            received: tuple[str, Any] = self._results.recv()
        except (EOFError, OSError):
            self._died = True
            return "end", EtwDetectError("the process that scans it ended before it was done")
        return received

    def end(self) -> None:
        """End the process."""
        self._orders.close()
        self._results.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(orders: Connection, results: Connection, options: ScanOptions) -> None:
    """Scan what is ordered, one trace after the other, and send what is found."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command stops the scans
    waiting: queue.SimpleQueue[Input] = queue.SimpleQueue()
    stopping = threading.Event()
    running: list[Scan] = []

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                order = orders.recv()
                if order is not None:
                    waiting.put(order)
                    continue
                stopping.set()
                for scan in running:
                    scan.stop()
        os._exit(0)  # the command ended

    threading.Thread(target=listen, daemon=True).start()
    kinds = Kinds(load(options.rules)) if options.rules else Kinds()
    while True:
        found = waiting.get()
        try:
            with found.open() as trace:
                digest = sha256([found.place]) if options.hash else None
                scan = Scan([trace], kinds=kinds, drives=options.drives, host=options.host)
                running[:] = [scan]
                if stopping.is_set():
                    scan.stop()
                _send_all(TraceSource(scan, digest), results)
        except NotATraceError as error:
            results.send(("unread", (error.name, error.why, error.offset)))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 (the command tells it)
            results.send(("end", _sendable(error)))


def _send_all(source: TraceSource, results: Connection) -> None:
    """Send how *source* is called, and what it tells; once the first remote thread is known, all but the last."""
    results.send(("result", source.result()))
    error = None
    try:
        detections = source.found()
        block = list(islice(detections, 1))
        results.send(("result", source.result()))
        while block:
            results.send(("found", block))
            block = list(islice(detections, _AT_ONCE))
    except BrokenPipeError:
        raise
    except Exception as raised:  # noqa: BLE001 (the command tells it)
        error = raised
    results.send(("result", source.result()))
    results.send(("end", error and _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """Return *error*, or one that says the same and can be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:  # noqa: BLE001 (what can't be sent need not say why)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
