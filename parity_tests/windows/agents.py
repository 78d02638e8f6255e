"""Who is there: the processes of a scenario by their names, their real ids, and the way to give them orders."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from parity_tests.errors import PerformanceError
from parity_tests.steps import MAIN, Who
from parity_tests.windows import api
from parity_tests.windows.actions import Deeds
from parity_tests.windows.ids import RealIds

if TYPE_CHECKING:
    from parity_tests.windows.api import Started

_PATIENCE: Final = 60.0
_NOTEPAD: Final = "notepad.exe"
_IDLE: Final = "cmd.exe /d /q"
"""A program that does nothing: it waits for its standard input, which never comes."""


@dataclass
class Player:
    """A real process, and the threads of it that have names. Without *lines* it takes no orders."""

    name: str
    pid: int
    threads: dict[str, int]
    debugger: str | None = None
    lines: tuple[IO[str], IO[str]] | None = None
    remote: set[str] = field(default_factory=set)
    """The threads that others made in it, which take no orders either."""

    def order(self, thread: str, deed: str, **arguments: object) -> Any:  # noqa: ANN401 (JSON)
        """Have *thread* do a deed; return what it answers. Raises PerformanceError."""
        if self.lines is None:
            raise PerformanceError(f"{self.name} takes no orders")
        orders, answers = self.lines
        try:
            orders.write(json.dumps({"thread": thread, "deed": deed, "arguments": arguments}) + "\n")
            orders.flush()
            line = answers.readline()
        except OSError as error:
            raise PerformanceError(f"{self.name} ({self.pid}) does not answer: {error}") from error
        if not line:
            raise PerformanceError(f"{self.name} ({self.pid}) has ended while it was to {deed}")
        answer = json.loads(line)
        if "error" in answer:
            raise PerformanceError(f"{self.name} ({self.pid}): {answer['error']}")
        return answer["result"]


class Stage:
    """The processes of one scenario. Leaving it ends all that are left.

    *notepad*: Notepad is played by itself. It can't be where nobody is logged on, nor in Wine without a display.
    """

    def __init__(self, *, notepad: bool) -> None:
        self._notepad = notepad
        self._key = secrets.token_hex(16)
        self._players: dict[str, Player] = {}
        self.ids = RealIds()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE)
        self.deeds = Deeds()
        """The performer's own."""

    def close(self) -> None:
        """End every process that is still there."""
        for player in self._players.values():
            api.terminate(player.pid)
            for file in player.lines or ():
                with contextlib.suppress(OSError):
                    file.close()
        self._listener.close()

    def command(self, name: str, image: str, *, acts: bool) -> str:
        """Return the command that starts the process *name*: an actor where it *acts*, else the program itself.

        Of programs there are Notepad, and one that does nothing and stands for all others.
        """
        program = _NOTEPAD if self._notepad and image.lower() == _NOTEPAD else _IDLE
        if acts:
            port = self._listener.getsockname()[1]
            words = (_python(), "-m", "parity_tests.windows.agent", str(port), self._key, name)
            return subprocess.list2cmdline(words)
        system32 = os.path.join(os.environ["SYSTEMROOT"], "System32")  # noqa: PTH118 (of Windows, wherever this is checked)
        return rf"{system32}\{program}"

    def enter(self, name: str, started: Started, thread: str = MAIN) -> Player:
        """Note that the process *name* was started."""
        player = self._players[name] = Player(name, started.pid, {})
        self.ids.processes[name] = started.pid
        self.note_thread(player, thread, started.tid)
        return player

    def connect(self, player: Player) -> None:
        """Wait until the actor *player* connects. Raises PerformanceError."""
        try:
            while player.lines is None:
                self._accept()
        except TimeoutError:
            raise PerformanceError(f"{player.name} ({player.pid}) did not begin to act") from None

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = (
            connection.makefile("w", encoding="utf-8", newline="\n"),
            connection.makefile("r", encoding="utf-8", newline="\n"),
        )
        connection.close()  # the files keep it
        try:
            greeting = json.loads(lines[1].readline())
            player = self._players[greeting["name"]] if greeting["key"] == self._key else None
        except (ValueError, KeyError, TypeError, OSError):
            player = None
        if player is not None:
            player.lines = lines

    def player(self, name: str) -> Player:
        """Return the process *name*."""
        if name not in self._players:
            raise PerformanceError(f"{name} was not started")
        return self._players[name]

    def note_thread(self, player: Player, name: str | None, tid: int, *, remote: bool = False) -> None:
        """Note that *player* has a new thread, called *name*."""
        name = name or f"#{tid}"
        player.threads[name] = tid
        if remote:
            player.remote.add(name)
        self.ids.threads[Who(player.name, name)] = tid


def _python() -> str:
    """Return the interpreter itself: python.exe of a virtual environment is another process, which starts it."""
    interpreter = getattr(sys, "_base_executable", sys.executable)
    if interpreter != sys.executable:
        os.environ["__PYVENV_LAUNCHER__"] = sys.executable  # by which it finds the environment
    return str(interpreter)
