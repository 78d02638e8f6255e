"""Tests that run with pytest in Windows CPython, in the lab, each file or folder in a process of its own."""

import re
from collections.abc import Sequence
from pathlib import Path

from tools.windows_lab import Lab
from tools.windows_lab.wine import windows_path

SECONDS = 180
"""For one test, on a machine under load. One that takes longer hangs: pytest ends and prints where it is."""

PYTEST = (
    *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *("-o", f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true"),
)


def inside(folder):
    """Return the files of tests that *folder* has for Windows CPython."""
    return sorted((folder / "inside").glob("windows_*.py"))


def run_tests(lab: Lab, module: Path, simetw: str | None = None) -> None:
    """Run all tests of *module*, which must pass, none of them skipped; *simetw* names a simulated machine."""
    summary = run_pytest(lab, module, env={"ETWDETECT_SIMETW": simetw} if simetw else None)
    assert re.fullmatch(r"\d+ passed", summary), f"some tests did not run: {summary}"


def run_pytest(lab: Lab, *paths: Path, options: Sequence[str] = (), env: dict[str, str] | None = None) -> str:
    """Run pytest on *paths*, where all must pass or be skipped; return how many that were, in pytest's words."""
    # Among the old files of pytest on Linux, which it would remove, are links and sockets: in Wine that fails.
    temporary = lab.root / "tmp"
    temporary.mkdir(exist_ok=True)
    env = {"PYTEST_DEBUG_TEMPROOT": windows_path(temporary)} | (env or {})
    ran = lab.run_python(*PYTEST, *options, *map(windows_path, paths), timeout=1800, env=env)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return re.findall(r"^(\d+ passed.*) in ", ran.stdout, re.MULTILINE)[-1]
