"""A process of a scenario: ``parity_tests.windows.agent PORT KEY NAME``, which `agents` starts.

It connects to the executor, and its threads carry out the commands that it sends: one JSON object a line,
`{"thread", "action", "arguments"}`. Each is answered by `{"result"}` or `{"error"}` before the next is sent. The
process exits when the connection ends.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Final

from parity_tests.windows.actions import NOTHING, Actions

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN: Final = "main"
_POLL_SECONDS: Final = 0.02

_Command = dict[str, Any]


class Agent:
    """Carries out commands until the executor disconnects; `serve` must be called on the main thread."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._lines = commands
        self._answers = answers
        self._actions = Actions()
        self._queues: dict[str, queue.Queue[_Command]] = {MAIN: queue.Queue()}
        self._own: dict[str, Callable[..., Any]] = {"own_thread": self._own_thread}

    def receive(self) -> None:
        """Pass each command to its thread; exit the process when there are no more."""
        try:
            for line in self._lines:
                command = json.loads(line)
                self._queues[command["thread"]].put(command)
        finally:
            os._exit(0)

    def serve(self, name: str) -> None:
        """Carry out the commands for this thread, which is called *name*, until it is told to end."""
        while True:
            try:
                command = self._queues[name].get(timeout=_POLL_SECONDS if self._actions.debugging else None)
            except queue.Empty:
                self._actions.pump()
                continue
            if command["action"] == "end":
                _send(self._answers, {"result": None})
                return
            try:
                action = self._own.get(command["action"]) or getattr(self._actions, command["action"])
                _send(self._answers, {"result": action(**command["arguments"])})
            except Exception as error:  # noqa: BLE001 (the executor reports it)
                _send(self._answers, {"error": f"{type(error).__name__}: {error}"})

    def _own_thread(self, name: str, notify_of: str) -> int:
        self._queues[name] = queue.Queue()
        thread = threading.Thread(target=self.serve, args=(name,), daemon=True)
        thread.start()
        assert thread.native_id is not None
        if notify_of != NOTHING:
            self._actions.notify_thread(os.getpid(), thread.native_id)
        return thread.native_id


def _send(file: IO[str], message: object) -> None:
    file.write(json.dumps(message) + "\n")
    file.flush()


def main() -> None:
    """Connect to the executor and carry out its commands."""
    port, key, name = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Two files: a single one, read and written by two threads, loses lines.
        answers = connection.makefile("w", encoding="utf-8", newline="\n")
        _send(answers, {"key": key, "name": name})
        agent = Agent(connection.makefile("r", encoding="utf-8", newline="\n"), answers)
        threading.Thread(target=agent.receive, daemon=True).start()
        agent.serve(MAIN)


if __name__ == "__main__":
    main()
