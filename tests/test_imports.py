"""The house: a room imports only from rooms to its left in the way of an event."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "etwdetect"

WORDS = {"events", "errors"}
LEFT = WORDS | {"raw", "etl", "decode", "order", "rule", "enrich", "recorded"}
ROOMS = {
    "events": set(),
    "errors": set(),
    "raw": set(),
    "etl": WORDS | {"raw"},
    "decode": WORDS | {"raw"},
    "order": {"events"},
    "rule": {"events"},
    "rule_state": {"rule"},
    "enrich": {"events", "errors", "rule"},
    "filters": {"rule"},
    "offline": LEFT,
    "output": WORDS | {"enrich", "rule", "offline"},
    "packing": {"errors"},
    "recorded": WORDS | {"etl", "packing"},
    "saved": {"enrich", "output"},
    "inputs": {"errors", "etl", "packing", "recorded", "saved"},
    "kdetector": {"errors", "rule"},
    "live": LEFT | {"kdetector", "output"},
    "report": {"enrich", "offline", "output", "rule"},
    "sigma": {"errors", "enrich", "output"},
    "sinks": {"errors", "enrich", "output"},
}
"""What each room may import of the others: the table of docs/architecture.md. Other rooms may import any."""


def room(module):
    return module.split(".")[1] if "." in module else ""


def own_imports(path):
    """The modules of this package that the file at *path* imports anywhere, for types too."""
    here = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "etwdetect")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{here} imports {node.module} relatively"
            if node.module == "etwdetect":
                yield from (f"etwdetect.{alias.name}" for alias in node.names)
            elif node.module.startswith("etwdetect."):
                yield node.module


def files_of(name):
    return [PACKAGE / f"{name}.py", *(PACKAGE / name).rglob("*.py")]


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_from_rooms_to_its_left(name):
    files = [path for path in files_of(name) if path.exists()]
    assert files
    imported = {(path.name, module) for path in files for module in own_imports(path)}
    allowed = ROOMS[name] | {name, ""}  # the package itself has the version
    assert {(path, module) for path, module in imported if room(module) not in allowed} == set()


def test_this_test_sees_the_imports_that_there_are():
    assert set(own_imports(PACKAGE / "core" / "rule.py")) == {"etwdetect.core.events"}
    assert "etwdetect.core.rule" in set(own_imports(PACKAGE / "enrich" / "detection.py"))  # for types alone
    assert "etwdetect.sources.decode.kernel_process" not in set(
        own_imports(PACKAGE / "sources" / "decode" / "layout.py")
    )


HEAVY = "etw", "numpy", "pyfwnt", "click", "pyarrow", "pyspark", "sigma", "tempfile", "zipfile"


def loaded_by(code):
    """The heavy modules that a new interpreter has loaded after *code*."""
    report = f"import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    command = [sys.executable, "-c", f"{code}; {report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert loaded_by("import etwdetect") == set()


def test_importing_the_way_of_a_trace_imports_nothing_heavy():
    """numpy and the decompression are loaded by the traces that need them."""
    assert (
        loaded_by(
            "import etwdetect.offline, etwdetect.results.writers;"
            "import etwdetect.sources.etl.walk, etwdetect.sources.etl.compression"
        )
        == set()
    )


def test_importing_a_command_imports_the_command_lines_own_library_alone():
    assert loaded_by("import etwdetect.cli.scan") == {"click"}


def test_this_test_sees_what_is_loaded():
    assert loaded_by("import numpy") == {"numpy"}


def test_nothing_but_its_own_command_imports_the_fleet():
    """It needs Spark, which is an extra."""
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(room(module) == "fleet" for module in own_imports(path))
    }
    assert {path for path in importing if not path.startswith("fleet/")} == {"cli/fleet.py"}
