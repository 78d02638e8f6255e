"""What all tests share: the Windows lab, which only one program at a time can have, and what they need to run.

What a test needs besides Python is known before it runs, from its fixtures (see NEEDS). `--only-python` leaves out
all that need something; pytest-xdist runs all that need the same on one worker: one Spark, one browser; what
needs the lab is for three workers.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.windows_lab import Lab

_OF_EXTRAS: Final = {
    "spark": ("pyspark", ("etwdetect/fleet", "tests/fleet")),
    "parquet": (
        "pyarrow",
        (
            "etwdetect/sources/eventdata/parquet.py",
            "tests/sources/eventdata/test_columns.py",
            "tests/sources/eventdata/test_files.py",
        ),
    ),
    "symbols": (
        "purepdb",
        ("etwdetect/enrich/symbols.py", "tests/enrich/test_symbols.py", "tests/cli/test_symbols.py"),
    ),
}
"""By extra: a package of it, and what can't even be imported without. Extras of the group "test" need no place."""

_MISSING: Final = {
    Path(__file__).parent / path: f"{path} is left out: it needs {package}, the extra etwdetect[{extra}]"
    for extra, (package, paths) in _OF_EXTRAS.items()
    if find_spec(package) is None
    for path in paths
}


NEEDS: Final = {
    "lab": "the Windows lab",
    "java": "Java",
    "chromium": "Chromium",
    "compiler": "a C++ compiler",
}
"""By fixture: what the tests that use it need besides Python.

The marker `needs`, with the same names, is for tests that come to it in another way.
"""

_SHARED: Final = frozenset(("lab", "java", "chromium"))
"""What takes long to start: the tests that need it run on one worker, one after the other."""

_OWN_LABS: Final = ("tests/live", "tests/test_in_windows.py")
"""The tests here take as long as all others in the lab, so other workers have them, each with a lab of its own."""

_LONGEST_NAME: Final = 150
"""Of a test with its parameters, in characters. Longer ones make reports unreadable, and can't be typed."""

_LONGEST_VALUE: Final = 50
"""Of a text that stands in a test's name as it is, in characters."""

_NOTES: Final = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --only-python."""
    parser.addoption(
        "--only-python", action="store_true", help=f"leave out the tests that need {', '.join(NEEDS.values())}"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list of what is said at the end."""
    config.stash[_NOTES] = []


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse names that are too long, put the tests in groups, and leave out those that --only-python does."""
    if too_long := [item.nodeid for item in items if len(item.name) > _LONGEST_NAME]:
        raise pytest.UsageError(
            f"names of tests have at most {_LONGEST_NAME} characters; give an id to the parameters of:",
            *too_long,
        )
    needed = {item: _needs(item) for item in items}
    if config.pluginmanager.hasplugin("xdist"):
        for item, needs in needed.items():
            if shared := [need for need in needs if need in _SHARED]:
                item.add_marker(pytest.mark.xdist_group(_group(item, shared[0])))
    if config.getoption("only_python"):
        left_out = [item for item in items if needed[item]]
        items[:] = [item for item in items if not needed[item]]
        counts = Counter(NEEDS[needed[item][0]] for item in left_out)
        config.stash[_NOTES] += [f"left out: {count} tests that need {need}" for need, count in counts.items()]
        config.hook.pytest_deselected(items=left_out)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes and long texts by their parameter, which pytest numbers, and not by their content."""
    too_long = isinstance(val, str) and (len(val) > _LONGEST_VALUE or "\n" in val)
    return argname if isinstance(val, bytes) or too_long else None


def _needs(item: pytest.Item) -> list[str]:
    marked = {name for marker in item.iter_markers("needs") for name in marker.args}
    return [name for name in NEEDS if name in marked or name in getattr(item, "fixturenames", ())]


def _group(item: pytest.Item, need: str) -> str:
    own = next((path for path in _OWN_LABS if item.nodeid.startswith(path)), None)
    return f"{need}: {own}" if need == "lab" and own else need


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the notes to the process that reports, where pytest-xdist runs the tests in several."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["notes"] = session.config.stash[_NOTES]


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 (pytest-xdist has no types)
    """Take the notes of a worker. What every worker says is said once: each collects all tests."""
    notes = node.config.stash[_NOTES]
    notes += [note for note in getattr(node, "workeroutput", {}).get("notes", ()) if note not in notes]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was noted."""
    for note in config.stash[_NOTES]:
        terminalreporter.write_line(note)


@pytest.fixture(scope="session")
def note(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return a function that takes a line to be said at the end of the run."""
    return pytestconfig.stash[_NOTES].append


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what needs an extra that is not installed."""
    return True if collection_path in _MISSING else None


def pytest_report_header() -> list[str]:
    """Say what is left out."""
    return list(_MISSING.values())


@pytest.fixture(scope="session")
def lab(note: Callable[[str], None]) -> Iterator[Lab]:
    """Boot the Windows lab. Debian's packages are installed by CI alone, nobody else is taken by surprise.

    The first of pytest-xdist's workers has the lab of `python -m tools.windows_lab`, each other one its own.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if sys.platform == "win32":
        pytest.skip("no Windows lab: this is Windows")
    from tools.windows_lab import LabUnavailableError, open_lab  # noqa: PLC0415 (only on Linux)

    try:
        with open_lab("" if worker == "gw0" else worker, install_packages="CI" in os.environ) as opened:
            yield opened
            note(f"Windows lab: starts in which Wine failed: {opened.not_started}")
    except LabUnavailableError as error:
        pytest.skip(f"no Windows lab: {error}")


@pytest.fixture(scope="session")
def compiler() -> None:
    """Say that a test needs a C++ compiler. What builds with one asks for it."""
