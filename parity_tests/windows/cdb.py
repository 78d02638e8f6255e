r"""cdb.exe, the console debugger of the Debugging Tools for Windows, controlled through its standard handles.

cdb reads commands only while its debuggee is stopped, and does not echo them. Each command is therefore followed
by an `.echo`, whose line ends the answer; waiting for that line is waiting for the debuggee to stop. Options,
commands and output formats are those of Microsoft's documentation; this was never run with the real cdb
(docs/user/parity-vm.md).
"""

from __future__ import annotations

import itertools
import queue
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from parity_tests.errors import CdbError
from parity_tests.windows import api
from parity_tests.windows.api import Started

if TYPE_CHECKING:
    from collections.abc import Sequence

KITS_KEY: Final = r"SOFTWARE\Microsoft\Windows Kits\Installed Roots"
KITS_VALUE: Final = "KitsRoot10"

_OPTIONS: Final = ("-pd", "-G", "-sins")
"""Leave the debuggee running when cdb ends, do not stop at its exit, do not load symbols from the network."""

_NEW_PROCESS_GROUP: Final = 0x200
_TIMEOUT_SECONDS: Final = 45.0
"""Longer than cdb's own limit of 30 s for a break-in."""

_LEAVING: Final = 2.0

_STATUS_OF_THREAD: Final = re.compile(r"\bid: ([0-9a-f]+)\.([0-9a-f]+)\b.*\bsuspend:", re.IGNORECASE)
"""Matches the output of ``~.``: `.  1  Id: 4dc.534 Suspend: 1 Teb: 7ffdd000 Unfrozen`, ids in hexadecimal."""

_BREAKPOINT: Final = "Break instruction exception - code 80000003"
_LAST_WORDS: Final = 5


def find() -> Path | None:
    """Return the 64-bit cdb.exe of the installed Windows 10 Kit, or None."""
    for root in _kit_roots():
        path = Path(root, "Debuggers", "x64", "cdb.exe")
        if path.is_file():
            return path
    return None


def _kit_roots() -> list[str]:
    roots: list[str] = []
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only Windows has it)

        # The installer of a Kit is a 32-bit program and may have written the 32-bit view only.
        for view in (winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY):
            with (
                suppress(OSError),
                winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, KITS_KEY, access=winreg.KEY_READ | view) as key,
            ):
                roots.append(str(winreg.QueryValueEx(key, KITS_VALUE)[0]))
    return roots


class Cdb:
    """A running cdb and its debuggee; use `attached` or `starting`. All methods raise CdbError."""

    def __init__(self, program: Sequence[str], arguments: str) -> None:
        command = f"{subprocess.list2cmdline((*program, *_OPTIONS))} {arguments}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the debugger that is installed)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl+Break must reach it alone, and the user's Ctrl+C must not.
                creationflags=_NEW_PROCESS_GROUP,
            )
        except OSError as error:
            raise CdbError(f"cdb cannot be started: {error}") from error
        self._marks = itertools.count(1)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="cdb", daemon=True)
        self._reader.start()
        self._last: list[str] = []

    @property
    def pid(self) -> int:
        """The process id of cdb."""
        return self._process.pid

    @classmethod
    def attached(cls, program: Sequence[str], pid: int, *, invasive: bool = True) -> Cdb:
        """Return a cdb that is attached to the process *pid*, or attached non-invasively."""
        return cls(program, f"-p {pid}" if invasive else f"-pv -p {pid}")

    @classmethod
    def starting(cls, program: Sequence[str], command: str) -> Cdb:
        """Return a cdb that starts *command* in a new console, without inherited handles."""
        return cls(program, f"-2 -noinh {command}")

    def stopped(self) -> Started:
        """Wait until the debuggee is stopped; return its pid and the tid of the thread that stopped it."""
        said = self._ask("~.")
        for line in reversed(said):
            if found := _STATUS_OF_THREAD.search(line):
                return Started(int(found[1], 16), int(found[2], 16))
        raise self._failure("did not report which thread stopped")

    def broken_in(self) -> int:
        """Wait for a break-in thread, continue the debuggee and return the id of the thread."""
        _, tid = self.stopped()
        if not any(_BREAKPOINT in line for line in self._last):
            raise self._failure("stopped for another reason than a break-in")
        self.go()
        # The thread exits once it is continued. A break before cdb has read the command would be lost.
        if not api.wait_for_thread(tid, _TIMEOUT_SECONDS):
            raise self._failure(f"did not continue the thread {tid}")
        return tid

    def break_in(self) -> int:
        """Break into the running debuggee and continue it; return the id of the break-in thread."""
        try:
            api.send_break(self.pid)
        except OSError as error:
            raise self._failure(f"cannot be sent Ctrl+Break ({error})") from error
        return self.broken_in()

    def go(self) -> None:
        """Continue the debuggee."""
        self._say("g")

    def detach(self) -> None:
        """Detach from the stopped debuggee and quit."""
        self._say("qd")
        try:
            self._process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failure("did not detach") from None

    def close(self) -> None:
        """Kill cdb."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # unread input
            self._process.stdin.close()
        # A debuggee that shares the pipe would keep the reader blocked, and closing would wait for it.
        self._reader.join(_LEAVING)
        if not self._reader.is_alive():
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode("ascii", "replace").rstrip())
        self._lines.put(None)

    def _say(self, *commands: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(f"{command}\n" for command in commands).encode())
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure(f"does not read commands ({error})") from error

    def _ask(self, command: str) -> list[str]:
        """Return cdb's output since the last call, including its answer to *command*."""
        mark = f"etwdetect-{next(self._marks)}"
        self._say(command, f".echo {mark}")
        self._last = []
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failure(f"did not answer within {_TIMEOUT_SECONDS:.0f} s") from None
            if line is None:
                raise self._failure("exited")
            if line == mark or line.endswith(f"> {mark}"):  # after the prompt, `0:001> `
                return self._last
            self._last.append(line)

    def _failure(self, what: str) -> CdbError:
        last = " / ".join(self._last[-_LAST_WORDS:])
        return CdbError(f"cdb ({self.pid}) {what}; its last output: {last or 'none'}")
