"""A process of a scenario: ``python -m parity_tests.windows.agent PORT KEY NAME``.

It connects to the performer, and its threads carry out the orders that come from there: one JSON object a line,
`{"thread", "deed", "arguments"}`, and the next when that is answered by `{"result"}` or `{"error"}`. When the
connection ends, so does the process.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Final

from parity_tests.windows.actions import NOBODY, Deeds

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN: Final = "main"
_LOOK_SECONDS: Final = 0.02

_Order = dict[str, Any]


class Actor:
    """Serves orders until the performer goes; `serve` is to be called on the main thread."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._lines = orders
        self._answers = answers
        self._deeds = Deeds()
        self._orders: dict[str, queue.Queue[_Order]] = {MAIN: queue.Queue()}
        self._own: dict[str, Callable[..., Any]] = {"own_thread": self._own_thread}

    def receive(self) -> None:
        """Give each order that comes to its thread; end the process when there are no more."""
        try:
            for line in self._lines:
                order = json.loads(line)
                self._orders[order["thread"]].put(order)
        finally:
            os._exit(0)

    def serve(self, name: str) -> None:
        """Carry out the orders for this thread, which is called *name*, until one of them is to end."""
        while True:
            try:
                order = self._orders[name].get(timeout=_LOOK_SECONDS if self._deeds.debugging else None)
            except queue.Empty:
                self._deeds.pump()
                continue
            if order["deed"] == "end":
                _send(self._answers, {"result": None})
                return
            try:
                deed = self._own.get(order["deed"]) or getattr(self._deeds, order["deed"])
                _send(self._answers, {"result": deed(**order["arguments"])})
            except Exception as error:  # noqa: BLE001 (whatever it is, the performer tells of it)
                _send(self._answers, {"error": f"{type(error).__name__}: {error}"})

    def _own_thread(self, name: str, tell: str) -> int:
        self._orders[name] = queue.Queue()
        thread = threading.Thread(target=self.serve, args=(name,), daemon=True)
        thread.start()
        assert thread.native_id is not None
        if tell != NOBODY:
            self._deeds.tell_thread(os.getpid(), thread.native_id)
        return thread.native_id


def _send(file: IO[str], message: object) -> None:
    file.write(json.dumps(message) + "\n")
    file.flush()


def main() -> None:
    """Connect, and serve orders."""
    port, key, name = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Two files: one that is read and written by two threads would lose lines.
        answers = connection.makefile("w", encoding="utf-8", newline="\n")
        _send(answers, {"key": key, "name": name})
        actor = Actor(connection.makefile("r", encoding="utf-8", newline="\n"), answers)
        threading.Thread(target=actor.receive, daemon=True).start()
        actor.serve(MAIN)


if __name__ == "__main__":
    main()
