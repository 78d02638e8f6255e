"""Everything the project checks, in one command: `python -m nox`."""

import os
import platform
import shutil

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

NOT_POSSIBLE = 5
"""The exit status of what a machine can't do."""

PROJECT = nox.project.load_toml("pyproject.toml")

# The driver's builds and tests need the compilers, and Spark needs Java; the Windows lab installs Wine and what
# belongs to it by itself.
DEBIAN_PACKAGES = {
    "make": "make",
    "g++": "g++",
    "x86_64-w64-mingw32-g++": "g++-mingw-w64-x86-64-win32",
    "java": "openjdk-17-jre-headless",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}
"""By the command that is needed: the Debian package that has it."""


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project itself, editable, with *extras* such as ``[spark]``, and the named dependency groups."""
    session.install("-e", f".{extras}", *nox.project.dependency_groups(PROJECT, *groups))


def install_debian_packages(session: nox.Session) -> None:
    """Install them where that is possible; where not, the tests that need them skip and say so."""
    missing = [package for command, package in DEBIAN_PACKAGES.items() if not shutil.which(command)]
    if not missing or platform.system() != "Linux":
        return
    if not shutil.which("apt-get") or not os.access("/usr/bin", os.W_OK):
        session.warn(f"{', '.join(missing)} can't be installed here (no apt-get, or not root)")
        return
    for arguments in (("update", "-q"), ("install", "-q", "-y", "--no-install-recommends", *missing)):
        session.run(
            "apt-get", *arguments, external=True, silent=True, success_codes=(0, 100),
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: the linter with nearly all of its rules, and the formatter."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy in strict mode, for this system and for Windows."""
    install(session, "types", "test", extras="[spark]")
    session.run("mypy")
    session.run("mypy", "--platform", "win32")
    session.run("mypy", "--platform", "linux", "tools")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; arguments after -- go to pytest."""
    install_debian_packages(session)
    install(session, "test", extras="[spark]")
    # Where there can be no lab it says why, and so do the tests that it is for, which are skipped.
    if platform.system() == "Linux":
        session.run("python", "-m", "tools.windows_lab", success_codes=(0, NOT_POSSIBLE))
    session.run("pytest", *session.posargs)
