"""The packages import each other exactly as the table of the architecture page says, and load nothing early."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needs_numpy

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "etwdetect"
PAGE = ROOT / "docs" / "contributing" / "architecture.md"

UNLISTED = {"__init__", "__main__", "_version", "errors"}
"""Modules without a row: the entry points, the version, and the public names of the exceptions."""

ANYTHING = {"cli"}
"""May import every package, and must not import each of them."""


def table():
    """Return by package, as the page has it, the packages that it may import."""
    page = PAGE.read_text("utf-8")
    rows_of_page = re.search(r"(?m)^\| package \| what it does \| may import \|\n(?:\|.*\n)+", page)[0]
    heading, _, *lines = rows_of_page.splitlines()
    assert heading.count("|") == 4
    rows = {}
    for line in lines:
        names, _, imports = (cell.strip() for cell in line.strip("|").split(" | "))
        allowed = {"everything"} if imports == "everything" else set(re.findall("[a-z]+", imports))
        for name in re.findall(r"`(\w+)", names):
            rows[name] = set() if imports.startswith("nothing") else allowed
    return rows


TABLE = table()


def package(module):
    """Return the package or top module of etwdetect that *module*, a dotted name, belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def own_imports(path):
    """The modules of etwdetect that the file at *path* imports anywhere, for types too."""
    here = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "etwdetect")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{here} imports {node.module} relatively"
            if node.module == "etwdetect":
                yield from (f"etwdetect.{alias.name}" for alias in node.names)
            elif node.module.startswith("etwdetect."):
                yield node.module


def imported():
    """Return by package what its files import of other packages, as {package: {file: modules}}."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for module in own_imports(path):
            other = package(module)
            if other != parts[0] and other != "_version":
                found.setdefault(parts[0], {}).setdefault(other, set()).add(f"{path.name} imports {module}")
    return found


IMPORTED = imported()


def test_every_package_has_a_row_in_the_table_and_every_row_a_package():
    packages = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(TABLE) == packages - UNLISTED


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_package_imports_what_the_table_says_and_nothing_else(name):
    found, allowed = IMPORTED.get(name, {}), TABLE[name]
    if name in ANYTHING:
        assert allowed == {"everything"}
        assert set(found) <= set(TABLE) | UNLISTED
        return
    assert {other: files for other, files in found.items() if other not in allowed} == {}
    assert allowed - set(found) == set(), "the table allows what nothing imports"


def test_no_package_imports_itself_by_way_of_others():
    order = graphlib.TopologicalSorter({name: set(found) for name, found in IMPORTED.items()})
    order.prepare()  # CycleError names the packages of a circle


def test_no_package_imports_the_parity_tests():
    """They are not in the wheel; only the command that loads them knows them."""
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"(?m)^\s*(from|import) parity_tests\b", path.read_text("utf-8"))
    }
    assert importing == set()


def test_this_test_sees_the_imports_that_there_are():
    imported = {f"etwdetect.core.{name}" for name in ("consistency", "doubts", "events", "rule_state")}
    assert set(own_imports(PACKAGE / "core" / "rule.py")) == imported
    assert "etwdetect.core.rule" in set(own_imports(PACKAGE / "enrich" / "detection.py"))  # for types alone
    assert TABLE["pipeline"] == {"core", "enrich"}


HEAVY = "etw", "numpy", "pyfwnt", "click", "pyarrow", "pyspark", "sigma", "tempfile", "zipfile"


def loaded_by(code):
    """The heavy modules that a new interpreter has loaded after *code*."""
    report = f"import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    command = [sys.executable, "-c", f"{code}; {report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert loaded_by("import etwdetect") == set()


def test_importing_the_modules_of_a_scan_imports_nothing_heavy():
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


@needs_numpy
def test_this_test_sees_what_is_loaded():
    assert loaded_by("import numpy") == {"numpy"}


def test_nothing_but_its_own_command_imports_the_fleet():
    """It needs Spark, which is an extra."""
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(package(module) == "fleet" for module in own_imports(path))
    }
    assert {path for path in importing if not path.startswith("fleet/")} == {"cli/fleet.py"}
