"""Scans several traces at once, in processes, and hands out what they tell in the order of the inputs.

A process scans one trace after the other and sends what it finds through a pipe: lines, where only lines are
wanted, so that the command has little left to do. A thread of the command takes that in, up to a bound, while
others are shown: so no process waits for its turn, and nothing piles up.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from etwdetect.cli.job_process import END, FOUND, RESULT, UNREAD, work
from etwdetect.cli.signals import shielded_processes
from etwdetect.cli.sources import Source, TraceSource
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.offline import summary
from etwdetect.offline.inputs import Input
from etwdetect.sources.packed import stream_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from etwdetect.cli.job_process import ScanOptions
    from etwdetect.cli.printing import Printed
    from etwdetect.enrich.detection import Detection
    from etwdetect.offline.result import ScanResult

LEAST: Final = 16 << 20
"""From how many bytes of traces on several processes pay off, as each takes 0.2 s to start."""

_AHEAD: Final = 2
"""How many traces a process has at a time: the one that it scans, and one for which it need not wait."""

_HELD: Final = 8 << 20
"""How many bytes of a process may wait to be asked for, before nothing more of it is taken in."""

_PATIENCE: Final = 5.0
"""How many seconds a process has to end by itself."""

_TICK: Final = 0.2
"""After how many seconds a wait looks for Ctrl+C, which does not wake it on Windows."""

_MAGIC: Final = 6


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
        """The process of each input that was given out and not asked for, in the order of the inputs."""
        self._options = options
        self._count = min(count, len(inputs))
        self.changed = threading.Condition()
        """Is held by who changes anything of the jobs, and told what may be waited for."""
        self.is_ending = False

    def __enter__(self) -> Self:
        """Start the processes."""
        try:
            for _ in range(self._count):
                self._workers.append(_Worker(self, self._options))
            with self.changed:
                for _ in range(_AHEAD):
                    for worker in self._workers:
                        self.give_out(worker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, whatever they do."""
        with self.changed:
            self.is_ending = True
            self.changed.notify_all()
        for worker in self._workers:
            worker.begin_end()
        for worker in self._workers:
            worker.end()

    def next_source(self) -> JobSource:
        """Return the next of the inputs, scanned; NotATraceError where it can't be read at all."""
        with self.changed:
            while not self._given:
                self.changed.wait(_TICK)
            worker = self._given.popleft()
        return JobSource(worker)

    def give_out(self, worker: _Worker) -> None:
        """Give the next input to *worker*, if one is left; `changed` is held."""
        if self._waiting:
            worker.give(self._waiting.popleft())
            self._given.append(worker)
            self.changed.notify_all()


class JobSource(TraceSource):
    """A trace that another process scans."""

    def __init__(self, worker: _Worker) -> None:
        kind, value = worker.receive()
        if kind == UNREAD:
            raise NotATraceError(*value)
        if kind == END:
            raise value
        self._worker = worker
        self._result: ScanResult = value
        self._is_done = False
        Source.__init__(self, summary.name(self._result))

    def result(self) -> ScanResult:
        """Return what was found so far; from the first item on, all but what the rule finds is complete."""
        return self._result

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that the scan finds, with the name of the trace; without a printer."""
        return self._until_interrupted(each for block in self._received() for each in block)

    def printed(self) -> Iterator[Printed] | None:
        """Yield what the chosen printer made of them; None where there is none."""
        return self._until_interrupted(self._received()) if self._worker.prints else None

    def drain(self) -> None:
        """Pass over what was not asked for, so that the results of the next trace can be."""
        with contextlib.suppress(Exception):  # it would have been told
            for _ in self._received():
                pass

    def _received(self) -> Iterator[Any]:
        while not self._is_done:
            kind, value = self._worker.receive()
            if kind == FOUND:
                yield value
            elif kind == RESULT:
                self._result = value
            else:
                self._is_done = True
                if value is not None:
                    raise value

    def _stop(self) -> None:
        self._worker.stop()


class _Worker:
    """A process of *jobs*, and the thread that takes in what it sends, and gives it more to do."""

    def __init__(self, jobs: Jobs, options: ScanOptions) -> None:
        self.prints = options.printer is not None
        self._jobs = jobs
        self._options = options
        self._given: deque[Input] = deque()
        """What it scans, or is to scan next."""
        self._held: deque[bytes] = deque()
        """What it sent, and nobody asked for."""
        self._size = 0
        self._ordering = threading.Lock()
        self._start()
        self._thread = threading.Thread(target=self._take_in, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        import multiprocessing  # noqa: PLC0415 (lazy import: few commands start processes)

        spawn = multiprocessing.get_context("spawn")  # the threads of sinks may run: a fork would copy their locks
        self._results, results = spawn.Pipe(duplex=False)
        orders, self._orders = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=work, args=(orders, results, self._options), daemon=True)
        with shielded_processes():
            self._process.start()
        orders.close()
        results.close()

    def give(self, found: Input) -> None:
        """Have it scan *found*, behind what it was given before."""
        self._given.append(found)
        self._order(found)

    def stop(self) -> None:
        """Have it read no further."""
        self._order(None)

    def _order(self, order: Input | None) -> None:
        with contextlib.suppress(OSError), self._ordering:  # OSError: it ended, which `_take_in` sees
            self._orders.send(order)

    def receive(self) -> tuple[bytes, Any]:
        """Return the next of what it sends: what it is, and a value."""
        with self._jobs.changed:
            while not self._held:
                self._jobs.changed.wait(_TICK)
            message = self._held.popleft()
            self._size -= len(message)
            self._jobs.changed.notify_all()
        return message[:1], pickle.loads(memoryview(message)[1:])  # noqa: S301 (made by a process of the command)

    def _take_in(self) -> None:
        """Hold what the process sends, and start another one where it dies, until the jobs end."""
        while True:
            message = self._sent()
            with self._jobs.changed:
                if message is None and not self._jobs.is_ending and self._given:
                    died = EtwDetectError("the process that scans it ended before it was done")
                    message = END + pickle.dumps(died)
                    self._close()
                    self._start()
                    for found in list(self._given)[1:]:
                        self._order(found)
                if self._jobs.is_ending or message is None:
                    return
                self._held.append(message)
                self._size += len(message)
                self._jobs.changed.notify_all()
                if message[:1] in {END, UNREAD}:
                    self._given.popleft()
                    self._jobs.give_out(self)
                self._jobs.changed.wait_for(lambda: self._size <= _HELD or self._jobs.is_ending)

    def _sent(self) -> bytes | None:
        """Return the next message of the process, None where it ended."""
        from multiprocessing.connection import wait  # noqa: PLC0415

        # On Windows the pipe of a process that dies as it starts does not end: this one has the other end, too.
        with contextlib.suppress(EOFError, OSError):
            wait((self._results, self._process.sentinel))
            if self._results.poll():
                return self._results.recv_bytes()
        return None

    def begin_end(self) -> None:
        """Tell the process to end."""
        with self._ordering:
            self._orders.close()

    def end(self) -> None:
        """End the process."""
        self._close()
        self._thread.join()

    def _close(self) -> None:
        self._orders.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._results.close()
