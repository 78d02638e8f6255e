"""Files of tests that run with pytest in Windows CPython, in the lab, each in a process of its own."""

import logging
import re
from pathlib import Path

from tools.windows_lab import Lab
from tools.windows_lab.wine import windows_path

NOT_STARTED = "[WinError 1359]"
"""Wine's CreateProcess, when the new process ended before its first instruction: seen once in some thousand starts
on a busy machine, and never of anything that we did."""

ATTEMPTS = 3


def inside(folder):
    """Return the files of tests that *folder* has for Windows CPython."""
    return sorted((folder / "inside").glob("windows_*.py"))


def run_tests(lab: Lab, module: Path, timeout: float = 300.0, simetw: str | None = None) -> None:
    """Run all tests of *module*, which must pass, none of them skipped; *simetw* names a simulated machine.

    They run again where Wine failed to start a process, which is no finding about what is tested.
    """
    arguments = "-m", "pytest", "-q", "-p", "no:cacheprovider", windows_path(module)
    for attempt in range(ATTEMPTS):
        # A name of its own for each attempt: what the last one left on its machine is not met again.
        env = {"ETWDETECT_SIMETW": f"{simetw}-{attempt}"} if simetw else None
        ran = lab.run_python(*arguments, timeout=timeout, env=env)
        said = ran.stdout + ran.stderr
        if ran.returncode == 0 or NOT_STARTED not in said:
            break
        logging.getLogger(__name__).warning("again: Wine did not start a process\n%s", said)
    assert ran.returncode == 0, said
    assert re.search(r"^\d+ passed in", said, re.MULTILINE), f"some tests did not run:\n{said}"
