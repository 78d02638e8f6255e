"""Everything the project checks, in one command: `python -m nox`."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# A Python that is not there is said, and the others are tested, on CI too. None is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

NOT_POSSIBLE = 5
"""The exit status of what a machine can't do."""

PROJECT = nox.project.load_toml("pyproject.toml")
HERE = ".".join(platform.python_version_tuple()[:2])
"""The version of the Python that runs nox: it has the whole suite."""

OTHERS = sorted({*nox.project.python_versions(PROJECT), "3.14"} - {HERE})
"""What else is tested where it is installed: the versions that the classifiers name, and the one to come."""

PARALLEL = ("-n", "auto", "--dist", "loadgroup")
"""What pytest-xdist is told; `-n0` behind it takes it back, for a debugger."""

WORKERS = (os.cpu_count() or 1) + 2
"""For all tests: those in the Windows lab wait for most of their time, and others use the processors meanwhile."""

# The driver's builds and tests need the compilers and what signs, and Spark needs Java; the Windows lab installs
# Wine and what belongs to it by itself.
DEBIAN_PACKAGES = {
    "make": "make",
    "g++": "g++",
    "x86_64-w64-mingw32-g++": "g++-mingw-w64-x86-64-win32",
    "osslsigncode": "osslsigncode",
    "openssl": "openssl",
    "java": "openjdk-17-jre-headless",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "rsyslogd": "rsyslog-openssl",
    "nginx": "nginx-light",
    "clang": "clang",
    "lld-link": "lld",
}
"""By the command that is needed: the Debian package that has it."""

SYSLOG_NG = ("syslog-ng-core", "libivykis0", "libnet1", "libpcre3", "libwrap0")
"""Debian's packages of syslog-ng. It can't be installed beside rsyslog, so it is unpacked into build/syslog-ng."""


def find_pythons_of_pyenv() -> None:
    """Put what pyenv has installed at the end of the PATH: where nothing is active, its shims before it fail."""
    if shutil.which("pyenv") is None:
        return
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip()
    folders = [str(folder) for version in OTHERS for folder in Path(root, "versions").glob(f"{version}.*/bin")]
    os.environ["PATH"] = os.pathsep.join((os.environ["PATH"], *folders))


find_pythons_of_pyenv()


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project itself, editable, with *extras* such as ``[spark]``, and the named dependency groups.

    Done once for a virtual environment, until pyproject.toml changes.
    """
    stamp = Path(session.virtualenv.location, "installed")
    wanted = hashlib.sha256(Path("pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    session.install("-e", f".{extras}", *nox.project.dependency_groups(PROJECT, *groups))
    stamp.write_text(wanted, encoding="utf-8")


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


def unpack_syslog_ng(session: nox.Session) -> None:
    """Unpack Debian's syslog-ng where that is possible; where not, the tests that need it skip and say so."""
    folder = Path("build", "syslog-ng").resolve()
    if shutil.which("syslog-ng") or folder.exists() or not shutil.which("apt-get"):
        return
    with tempfile.TemporaryDirectory() as packages, session.chdir(packages):
        session.run("apt-get", "download", "-q", *SYSLOG_NG, external=True, silent=True, success_codes=(0, 100))
        found = sorted(Path(packages).glob("*.deb"))
        unpacked = Path(packages, "unpacked")
        for package in found:
            session.run("dpkg", "-x", str(package), str(unpacked), external=True, silent=True)
        if len(found) == len(SYSLOG_NG):
            folder.parent.mkdir(exist_ok=True)
            shutil.move(unpacked, folder)
        else:
            session.warn("syslog-ng can't be downloaded here")


def check_style(session: nox.Session) -> None:
    """Run the linter with nearly all of its rules, and the formatter."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


def check_types(session: nox.Session) -> None:
    """Run mypy in strict mode, for this system and for Windows; each has a cache of its own."""
    session.run("mypy")
    session.run("mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32")
    session.run("mypy", "--platform", "linux", "--cache-dir", ".mypy_cache/tools", "tools")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: the linter with nearly all of its rules, and the formatter."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    check_style(session)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy in strict mode, for this system and for Windows."""
    install(session, "types", "test", extras="[spark]")
    check_types(session)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, on the Python that runs nox; arguments after -- go to pytest."""
    install_debian_packages(session)
    unpack_syslog_ng(session)
    install(session, "test", extras="[spark]")
    # Where there can be no lab it says why, and so do the tests that it is for, which are skipped.
    if platform.system() == "Linux":
        session.run("python", "-m", "tools.windows_lab", success_codes=(0, NOT_POSSIBLE))
    session.run("pytest", *PARALLEL, "-n", str(WORKERS), *session.posargs)


@nox.session(python=OTHERS)
def compatibility(session: nox.Session) -> None:
    """Run the tests that need nothing but Python, on each other Python that is installed."""
    install(session, "test", extras="[spark]")
    session.run("pytest", *PARALLEL, "--only-python", *session.posargs)


@nox.session(default=False)
def quick(session: nox.Session) -> None:
    """Run what takes little: linter, types, and the tests that need nothing but Python and are not slow.

    Hypothesis tries fewer examples.
    """
    install(session, "lint", "types", "test", extras="[spark]")
    check_style(session)
    check_types(session)
    session.run(
        "pytest", *PARALLEL, "--only-python", "-m", "not slow", "--hypothesis-profile=few", *session.posargs
    )  # fmt: skip


@nox.session(default=False)
def examples(session: nox.Session) -> None:
    """Run Hypothesis's tests with new examples, where all other sessions have the same in every run."""
    install(session, "test", extras="[spark]")
    session.run(
        "pytest", *PARALLEL, "--only-python", "-m", "hypothesis", "--hypothesis-profile=new", *session.posargs
    )


FUZZ_SECONDS = 300
"""How long `fuzz` runs each target, where nobody says otherwise; and LONG_FUZZ_SECONDS those that read most."""
LONG_FUZZ_SECONDS = 1200


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Fuzz a target for some seconds: `-- TARGET SECONDS`; without them, all, one after the other.

    The target `driver` needs clang, and is run by name alone.
    """
    if session.posargs[:1] == ["driver"]:
        corpus = Path("build", "fuzz", "driver")
        corpus.mkdir(parents=True, exist_ok=True)
        session.run("make", "-s", "-C", "driver", "fuzz", external=True)
        long = (session.posargs[1:] or [str(FUZZ_SECONDS)])[0]
        options = f"-max_total_time={long}", "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/found-"
        session.run("build/driver/fuzz/Fuzz", *options, str(corpus), external=True)
        return
    install(session, "fuzz", "test", extras="[parquet,sigma]")
    if session.posargs:
        session.run("python", "-m", "fuzz", *session.posargs)
        return
    listed = session.run("python", "-c", "from fuzz.targets import TARGETS; print(*TARGETS)", silent=True)
    for target in str(listed).split():
        seconds = LONG_FUZZ_SECONDS if target in {"container", "decoding", "archives"} else FUZZ_SECONDS
        session.run("python", "-m", "fuzz", target, str(seconds))
