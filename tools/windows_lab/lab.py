"""The lab as a whole: provisioned once, then opened by one program at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from tools.windows_lab import debian, windows_python
from tools.windows_lab.errors import LabError
from tools.windows_lab.steps import run_step
from tools.windows_lab.wine import NOT_STARTED, WinePrefix, launcher, windows_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROJECT: Final = Path(__file__).resolve().parents[2]
_LOCK_SECONDS: Final = 900.0


class Lab:
    """A provisioned lab. Get one from open_lab()."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = WinePrefix(root / "prefix")
        self.python = root / "python" / "python.exe"
        self.not_started = 0
        """How many processes Wine ended before their first instruction, of those that run() saw."""

    @property
    def site(self) -> Path:
        """Where the Windows wheels are installed."""
        return self.root / "site"

    def start(
        self, *command: str, terminal: int | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a Windows program, with pipes for its output and for its input.

        Pipes, because Windows CPython can't start under Wine with a file or the null device. With *terminal*, the
        file descriptor of one, that is its input and the console that controls it. *env* is added to its
        environment.
        """
        # Wine passes on a terminal's Ctrl+C only if the kernel sends its signals here.
        prefix = () if terminal is None else ("setsid", "--ctty")
        return subprocess.Popen(  # noqa: S603
            (*prefix, *launcher(), "wine", *command),
            stdin=subprocess.PIPE if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.prefix.env, **(env or {})},
            cwd=PROJECT,
        )

    def start_python(
        self, *arguments: str, terminal: int | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start Windows CPython with *arguments*, as start() does."""
        return self.start(windows_path(self.python), *arguments, terminal=terminal, env=env)

    def run(
        self, *command: str, timeout: float = 300.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Windows program to its end, for at most *timeout* seconds, and return what it said.

        One that Wine ended before its first instruction is started again, once. Raises subprocess.TimeoutExpired;
        the program is ended first.
        """
        ran = self._run(command, timeout, env)
        if _was_not_started(ran):
            ran = self._run(command, timeout, env)
        return subprocess.CompletedProcess(command, ran.returncode, _text(ran.stdout), _text(ran.stderr))

    def _run(
        self, command: Sequence[str], timeout: float, env: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[bytes]:
        with self.start(*command, env=env) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        # What the program itself failed to start says so on the same standard error.
        self.not_started += errors.count(NOT_STARTED)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def run_python(
        self, *arguments: str, timeout: float = 300.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Windows CPython with *arguments* to its end, as run() does."""
        return self.run(windows_path(self.python), *arguments, timeout=timeout, env=env)

    def _recipe(self) -> str:
        """Return a digest of all that decides what provisioning makes."""
        wine = run_step("wine --version", ("wine", "--version"), env=self.prefix.env, timeout=60.0)
        digest = hashlib.sha256()
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        digest.update("\n".join([wine, str(PROJECT), *windows_python.requirements(PROJECT)]).encode())
        return digest.hexdigest()

    def provision(self) -> None:
        """Make the lab anew unless it is there already, made by the same recipe. Raises LabError."""
        stamp = self.root / "recipe"
        recipe = self._recipe()
        if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
            return
        stamp.unlink(missing_ok=True)
        if self.prefix.path.exists():
            # One that was left running could not be found any more once its directory is gone.
            self.prefix.stop_server()
        download = self.root / "download"
        for part in (download, self.python.parent, self.site, self.prefix.path):
            shutil.rmtree(part, ignore_errors=True)
        windows_python.install_python(self.python.parent, download)
        # Wine has no WMI service: platform.platform() asks it first, and that ends the process.
        (self.python.parent / "_wmi.pyd").unlink()
        windows_python.install_wheels(self.site, windows_python.requirements(PROJECT))
        # Wine 8's C library lacks a function that it calls as it is imported, and that ends the process.
        shutil.rmtree(self.site / "numpy")
        windows_python.set_search_path(self.python.parent, self.site, PROJECT, PROJECT / "simetw" / "python")
        self.prefix.create()
        stamp.write_text(recipe, encoding="utf-8")


@contextlib.contextmanager
def open_lab(name: str = "", *, install_packages: bool = False) -> Iterator[Lab]:
    """Provision the lab if need be, boot it, and shut it down afterwards.

    One program at a time has the lab: another waits for its turn, for at most 15 minutes. With a *name* it is
    another lab, beside the one without. Debian's packages are installed only with *install_packages*.

    Raises LabUnavailableError when this machine can't hold a lab, LabError when a step fails.
    """
    debian.require_programs(install=install_packages)
    root = Path(os.environ.get("ETWDETECT_WINDOWS_LAB") or PROJECT / "build" / "windows-lab").absolute()
    if name:
        root = root.with_name(f"{root.name}-{name}")
    root.mkdir(parents=True, exist_ok=True)
    lab = Lab(root)
    with (root / "lock").open("w", encoding="utf-8") as lock:
        _take(lock)
        lab.provision()
        lab.prefix.start_server()
        try:
            yield lab
        finally:
            lab.prefix.stop_server()


def _take(lock: IO[str]) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabError(f"the lab is still in use by another program after {_LOCK_SECONDS:.0f} s") from None
            time.sleep(0.5)
        else:
            return


def _was_not_started(ran: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether *ran* is nothing but Wine's word for that, which a program that started another in vain has too."""
    return ran.returncode == 1 and not ran.stdout and NOT_STARTED in ran.stderr and ran.stderr.count(b"\n") == 1


def _text(output: bytes) -> str:
    """Decode what a Windows program printed, with line ends as Python has them."""
    return output.decode("utf-8", "replace").replace("\r\n", "\n")
