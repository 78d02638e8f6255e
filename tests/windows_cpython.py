"""Files of tests that run with pytest in Windows CPython, in the lab, each in a process of its own."""

import re
from pathlib import Path

from tools.windows_lab import Lab
from tools.windows_lab.wine import windows_path


def inside(folder):
    """Return the files of tests that *folder* has for Windows CPython."""
    return sorted((folder / "inside").glob("windows_*.py"))


def run_tests(lab: Lab, module: Path, timeout: float = 300.0, simetw: str | None = None) -> None:
    """Run all tests of *module*, which must pass, none of them skipped; *simetw* names a simulated machine."""
    env = {"ETWDETECT_SIMETW": simetw} if simetw else None
    arguments = "-m", "pytest", "-q", "-p", "no:cacheprovider", windows_path(module)
    ran = lab.run_python(*arguments, timeout=timeout, env=env)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert re.search(r"^\d+ passed in", said, re.MULTILINE), f"some tests did not run:\n{said}"
