"""Running the programs that provisioning is made of."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING

from tools.windows_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_step(what: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float) -> str:
    """Run *command* for at most *timeout* seconds and return what it printed.

    Its output goes through a file of its own rather than a pipe: what Wine leaves running in the background
    inherits it, and a pipe would stay open for as long.

    Raises LabError, with *what* and the last line that was printed, when the command fails or takes too long.
    """
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as output:
        try:
            status = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise LabError(f"{what}: not done after {timeout:.0f} s") from None
        output.seek(0)
        printed = output.read()
    if status != 0:
        last = printed.strip().splitlines()[-1:] or ["it printed nothing"]
        raise LabError(f"{what}: exit status {status}: {last[0]}")
    return printed
