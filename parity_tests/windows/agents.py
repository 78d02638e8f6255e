"""The processes of a running scenario by name: their real ids and the connections to their agents."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.cli import by_path
from parity_tests.checkout import ROOT
from parity_tests.errors import PerformanceError
from parity_tests.steps import MAIN, ThreadRef
from parity_tests.windows import api
from parity_tests.windows.actions import Actions
from parity_tests.windows.ids import RealIds

if TYPE_CHECKING:
    from parity_tests.windows.api import Started

_TIMEOUT_SECONDS: Final = 60.0
_NOTEPAD: Final = "notepad.exe"
_IDLE: Final = "cmd.exe /d /q"
"""A program that does nothing: it waits for input that never comes."""


@dataclass
class AgentHandle:
    """A real process and its named threads. *lines* is the connection to its agent, None if it runs none."""

    name: str
    pid: int
    threads: dict[str, int]
    debugger: str | None = None
    lines: tuple[IO[str], IO[str]] | None = None
    ended: bool = False
    """Whether the scenario had it end."""
    remote: set[str] = field(default_factory=set)
    """The threads that other processes created in it; they run no agent."""

    def request(self, thread: str, action: str, **arguments: object) -> Any:  # noqa: ANN401 (JSON)
        """Have *thread* perform *action* and return the result. Raises PerformanceError."""
        if self.lines is None:
            raise PerformanceError(f"{self.name} runs no agent")
        commands, answers = self.lines
        try:
            commands.write(json.dumps({"thread": thread, "action": action, "arguments": arguments}) + "\n")
            commands.flush()
            line = answers.readline()
        except OSError as error:
            raise PerformanceError(f"{self.name} ({self.pid}) does not answer: {error}") from error
        if not line:
            raise PerformanceError(f"{self.name} ({self.pid}) exited during {action}")
        answer = json.loads(line)
        if "error" in answer:
            raise PerformanceError(f"{self.name} ({self.pid}): {answer['error']}")
        return answer["result"]


class Agents:
    """The processes of one scenario. `close` ends those that are left.

    *notepad*: start the real Notepad. It needs a logged-on user, and one that does not hand over to the Store's.
    """

    def __init__(self, *, notepad: bool) -> None:
        self._notepad = notepad
        self._notepads: set[str] = set()
        self.replaced: list[str] = []
        """The processes that are Notepad in the scenario and another program here."""
        self._key = secrets.token_hex(16)
        self._handles: dict[str, AgentHandle] = {}
        self.ids = RealIds()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TIMEOUT_SECONDS)
        self.actions = Actions()
        """The actions of the executor's own process."""

    def close(self) -> None:
        """End every process that still runs."""
        for agent in self._handles.values():
            api.terminate(agent.pid)
            for file in agent.lines or ():
                with contextlib.suppress(OSError):
                    file.close()
        self._listener.close()

    def command(self, name: str, image: str, *, with_agent: bool) -> str:
        """Return the command that starts the process *name*: an agent if *with_agent*, else a program.

        The program is Notepad, or one that does nothing in place of every other.
        """
        program = _IDLE
        if image.lower() == _NOTEPAD and not with_agent:
            if self._notepad:
                program = _NOTEPAD
                self._notepads.add(name)
            else:
                self.replaced.append(name)
        if with_agent:
            port = self._listener.getsockname()[1]
            words = (*_python(), "parity_tests.windows.agent", str(port), self._key, name)
            return subprocess.list2cmdline(words)
        system32 = os.path.join(os.environ["SYSTEMROOT"], "System32")  # noqa: PTH118 (a Windows path, also when checked on Linux)
        return rf"{system32}\{program}"

    def add(self, name: str, started: Started, thread: str = MAIN) -> AgentHandle:
        """Add the process *name*, which was started."""
        agent = self._handles[name] = AgentHandle(name, started.pid, {})
        self.ids.processes[name] = started.pid
        self.note_thread(agent, thread, started.tid)
        return agent

    def handed_over(self) -> AgentHandle | None:
        """Return a Notepad that ended by itself."""
        started = (self._handles[name] for name in self._notepads if name in self._handles)
        return next((each for each in started if not each.ended and api.wait_for_process(each.pid, 0)), None)

    def connect(self, agent: AgentHandle) -> None:
        """Wait until *agent* connects. Raises PerformanceError."""
        try:
            while agent.lines is None:
                self._accept()
        except TimeoutError:
            raise PerformanceError(f"{agent.name} ({agent.pid}) did not connect") from None

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = (
            connection.makefile("w", encoding="utf-8", newline="\n"),
            connection.makefile("r", encoding="utf-8", newline="\n"),
        )
        connection.close()  # the files keep it open
        try:
            greeting = json.loads(lines[1].readline())
            agent = self._handles[greeting["name"]] if greeting["key"] == self._key else None
        except (ValueError, KeyError, TypeError, OSError):
            agent = None
        if agent is not None:
            agent.lines = lines

    def agent(self, name: str) -> AgentHandle:
        """Return the process *name*."""
        if name not in self._handles:
            raise PerformanceError(f"{name} was not started")
        return self._handles[name]

    def note_thread(self, agent: AgentHandle, name: str | None, tid: int, *, remote: bool = False) -> None:
        """Add a thread called *name* to *agent*; *remote*: another process created it."""
        name = name or f"#{tid}"
        agent.threads[name] = tid
        if remote:
            agent.remote.add(name)
        self.ids.threads[ThreadRef(agent.name, name)] = tid


def _python() -> tuple[str, ...]:
    """Return the command that runs a module of this package, from this folder whatever the current one is.

    The interpreter is the base interpreter: python.exe of a virtual environment starts it as another process.
    """
    interpreter = getattr(sys, "_base_executable", sys.executable)
    if interpreter != sys.executable:
        os.environ["__PYVENV_LAUNCHER__"] = sys.executable  # tells it the environment
    return str(interpreter), "-I", str(Path(by_path.__file__).resolve()), str(ROOT / "parity_tests")
