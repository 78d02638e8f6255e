"""The wine bench: real processes in Wine, the compiled driver, and pywintrace over a stand-in for event tracing.

This is its Linux side. It opens the Windows lab, builds what is loaded there, and hands each scenario to Windows
CPython (`parity_tests.windows.lab_worker`), which performs it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import threading
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from etwdetect.cli.by_path import import_package
from parity_tests.benches import Bench
from parity_tests.checkout import ROOT
from parity_tests.errors import BenchUnavailableError, PerformanceError
from parity_tests.simulators.build import make
from parity_tests.windows import exchange
from parity_tests.windows.capabilities import obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario

_SOURCES: Final = (("simetw",), ("driver", "-f", "wine/Makefile"))
_LAST_WORDS: Final = 20
_LAST_SECONDS: Final = 60
_LONGEST_SCENARIO: Final = 600.0
"""In seconds: far more than each wait of the Windows side, so that it is one without an end that this ends."""


class WineBench(Bench):
    """Performs scenarios in the Windows lab: in *lab*, if it is open already, else in one that it opens."""

    name = "wine"

    def __init__(self, lab: Any = None) -> None:  # noqa: ANN401 (a tools.windows_lab.Lab, loaded late)
        self._lab = lab
        self._stack = ExitStack()
        self._said: deque[str] = deque(maxlen=_LAST_WORDS)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            lab = self._lab or stack.enter_context(_open_lab())
            build()
            # A simulated machine of our own: it is as new.
            machine = {"ETWDETECT_SIMETW": f"parity-{os.getpid()}-{id(self)}"}
            self._inside: subprocess.Popen[bytes] = lab.start_python(
                "-m", "parity_tests.windows.lab_worker", env=machine
            )
            stack.callback(self._end)
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cannot(self, scenario: Scenario) -> str | None:
        """Return which step real processes in Wine can't do."""
        if scenario.path is None:
            return "it is in no file"
        return obstacle(scenario, notify=True)

    def perform(self, scenario: Scenario) -> Observation:
        """Have the scenario performed in the lab."""
        assert self._inside.stdin is not None
        assert self._inside.stdout is not None
        assert scenario.path is not None
        request = {"name": scenario.name, "text": scenario.path.read_text("utf-8")}
        watchdog = threading.Timer(_LONGEST_SCENARIO, self._give_up)
        watchdog.start()
        try:
            self._inside.stdin.write(json.dumps(request).encode() + b"\n")
            self._inside.stdin.flush()
            answer = self._inside.stdout.readline()
        except OSError as error:
            raise PerformanceError(f"the Windows side has ended: {error}") from error
        finally:
            watchdog.cancel()
        if not answer:
            raise PerformanceError("\n".join(("the Windows side has ended:", *self._said)))
        if b'"error"' in answer[:9]:
            raise PerformanceError(json.loads(answer)["error"])
        return exchange.load(answer.decode())

    def _give_up(self) -> None:
        self._said.append(f"it was ended, because it did not answer within {_LONGEST_SCENARIO:.0f} s")
        self._inside.kill()

    def _listen(self) -> None:
        """Keep the last that the Windows side says on standard error."""
        assert self._inside.stderr is not None
        for line in self._inside.stderr:
            self._said.append(line.decode("utf-8", "replace").rstrip())

    def _end(self) -> None:
        """Let the Windows side end by itself, which takes the driver away, or else end it."""
        assert self._inside.stdin is not None
        with suppress(OSError):  # a broken pipe: it has ended already
            self._inside.stdin.close()
        try:
            self._inside.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._inside.kill()
            self._inside.wait()
        self._listener.join(_LAST_SECONDS)
        for stream in (self._inside.stdout, self._inside.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def _open_lab() -> Iterator[Any]:
    """Open the lab; BenchUnavailableError where there can be none."""
    tools = ROOT / "tools"
    if not (tools / "windows_lab").is_dir():
        raise BenchUnavailableError(
            "the wine bench needs the Windows lab, which is not part of the .zip; run it in a checkout on Linux"
        )
    try:
        import_package(tools)
        windows_lab = importlib.import_module("tools.windows_lab")
    except ImportError as error:
        raise BenchUnavailableError(f"no Windows lab on this system: {error}") from error
    try:
        with windows_lab.open_lab() as lab:
            yield lab
    except windows_lab.LabError as error:
        raise BenchUnavailableError(f"no Windows lab: {error}") from error


def build() -> None:
    """Build what is loaded in the lab. Raises BenchUnavailableError."""
    for folder, *arguments in _SOURCES:
        done = make(ROOT / folder, *arguments)
        if done.returncode:
            raise BenchUnavailableError(f"{folder} cannot be built:\n{done.stderr.strip()}")


bench = WineBench
