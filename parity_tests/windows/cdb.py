r"""cdb.exe, the console debugger of the Debugging Tools for Windows, ordered about through its standard handles.

cdb reads a command only while what it debugs stands still, and does not repeat it. So the answer to one ends with
the line of an `.echo` behind it, and to wait for that line is to wait for the debuggee to stop. Options, commands
and forms of output are those of Microsoft's documentation; cdb itself was never run with this (docs/parity-vm.md).
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
"""Let the debuggee outlive cdb, don't stop when it ends, and don't go to the network for symbols."""

_NEW_PROCESS_GROUP: Final = 0x200
_PATIENCE: Final = 45.0
"""cdb itself gives up breaking in after 30 seconds."""

_LEAVING: Final = 2.0

_STATUS_OF_THREAD: Final = re.compile(r"\bid: ([0-9a-f]+)\.([0-9a-f]+)\b.*\bsuspend:", re.IGNORECASE)
"""In what ``~.`` says: `.  1  Id: 4dc.534 Suspend: 1 Teb: 7ffdd000 Unfrozen`, ids in hexadecimal."""

_BREAKPOINT: Final = "Break instruction exception - code 80000003"
_LAST_WORDS: Final = 5


def find() -> Path | None:
    """Return the cdb.exe for 64 bits of the Windows Kit 10 that is installed; None where there is none."""
    for root in _kit_roots():
        path = Path(root, "Debuggers", "x64", "cdb.exe")
        if path.is_file():
            return path
    return None


def _kit_roots() -> list[str]:
    roots: list[str] = []
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only Windows has it)

        # A Kit's installer has 32 bits, so the registry's other half may be the only one that has it.
        for view in (winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY):
            with (
                suppress(OSError),
                winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, KITS_KEY, access=winreg.KEY_READ | view) as key,
            ):
                roots.append(str(winreg.QueryValueEx(key, KITS_VALUE)[0]))
    return roots


class Cdb:
    """A cdb that runs, and what it debugs; make one with `attach` or `start`. All raise CdbError."""

    def __init__(self, program: Sequence[str], arguments: str) -> None:
        command = f"{subprocess.list2cmdline((*program, *_OPTIONS))} {arguments}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the debugger that is installed)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group of its own: the break is for it alone, and our user's Ctrl+C is not for it.
                creationflags=_NEW_PROCESS_GROUP,
            )
        except OSError as error:
            raise CdbError(f"cdb can't be started: {error}") from error
        self._marks = itertools.count(1)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="cdb", daemon=True)
        self._reader.start()
        self._last: list[str] = []

    @property
    def pid(self) -> int:
        """The process id of cdb itself."""
        return self._process.pid

    @classmethod
    def attached(cls, program: Sequence[str], pid: int, *, invasive: bool = True) -> Cdb:
        """Return one that is attached to the process *pid*, or looks at it without touching it."""
        return cls(program, f"-p {pid}" if invasive else f"-pv -p {pid}")

    @classmethod
    def starting(cls, program: Sequence[str], command: str) -> Cdb:
        """Return one that starts *command*, in a console of its own and without our handles."""
        return cls(program, f"-2 -noinh {command}")

    def stopped(self) -> Started:
        """Wait until the debuggee stands still; return which process it is, and which thread stopped it."""
        said = self._ask("~.")
        for line in reversed(said):
            if found := _STATUS_OF_THREAD.search(line):
                return Started(int(found[1], 16), int(found[2], 16))
        raise self._failure("did not tell which thread stopped")

    def broken_in(self) -> int:
        """Wait for a thread that breaks in, and let the debuggee go on; return the thread's id."""
        _, tid = self.stopped()
        if not any(_BREAKPOINT in line for line in self._last):
            raise self._failure("stopped for another reason than a break-in")
        self.go()
        # The thread ends when it may go on. A break before cdb has read the order would be lost.
        if not api.wait_for_thread(tid, _PATIENCE):
            raise self._failure(f"did not let the thread {tid} go on")
        return tid

    def break_in(self) -> int:
        """Break into the debuggee, which runs, and let it go on; return the id of the thread that broke in."""
        try:
            api.send_break(self.pid)
        except OSError as error:
            raise self._failure(f"can't be sent Ctrl+Break ({error})") from error
        return self.broken_in()

    def go(self) -> None:
        """Let the debuggee go on."""
        self._say("g")

    def detach(self) -> None:
        """Let go of the debuggee, which stands still, and end."""
        self._say("qd")
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._failure("did not detach") from None

    def close(self) -> None:
        """End cdb, whatever it does."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # what was not taken any more
            self._process.stdin.close()
        # A debuggee that has the other end too would keep the reader, and closing would wait for the reader.
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
            raise self._failure(f"takes no commands ({error})") from error

    def _ask(self, command: str) -> list[str]:
        """Return what cdb has said since it was asked last, and what it answers to *command*."""
        mark = f"etwdetect-{next(self._marks)}"
        self._say(command, f".echo {mark}")
        self._last = []
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failure(f"did not answer within {_PATIENCE:.0f} s") from None
            if line is None:
                raise self._failure("has ended")
            if line == mark or line.endswith(f"> {mark}"):  # behind the prompt, `0:001> `
                return self._last
            self._last.append(line)

    def _failure(self, what: str) -> CdbError:
        last = " / ".join(self._last[-_LAST_WORDS:])
        return CdbError(f"cdb ({self.pid}) {what}; it said: {last or 'nothing'}")
