"""Where `parity run` and `parity scenarios` get the parity tests from, and where not."""

import importlib
import os
import shutil
import subprocess
import sys

import pytest

import parity_tests
from etwdetect.cli import by_path, parity
from tests.conftest import ROOT

MALICIOUS = "raise SystemExit('this parity_tests must not run')\n"


@pytest.fixture
def malicious(tmp_path):
    """A folder with a package parity_tests that nobody may import."""
    folder = tmp_path / "malicious"
    for name in ("parity_tests", "parity_tests/windows", "tools"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(MALICIOUS)
    for name in ("parity_tests/cli.py", "parity_tests/windows/agent.py"):
        (folder / name).write_text(MALICIOUS)
    return folder


def start(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )


def with_path(*folders):
    if sys.flags.isolated:
        pytest.skip("the Windows lab's Python does not look at PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def scenarios_listed_by(etwdetect, **options):
    done = etwdetect("parity", "scenarios", "list", **options)
    assert (done.status, done.err) == (0, "")
    return {line.split()[0] for line in done.out.splitlines()}


SHIPPED = {path.stem for path in (ROOT / "parity_tests" / "scenarios").glob("*.toml")}


@pytest.mark.slow
def test_the_current_folder_and_pythonpath_are_not_searched(etwdetect, malicious):
    env = with_path(malicious, ROOT)
    assert "must not run" in start("-c", "import parity_tests", cwd=malicious, env=env).stderr
    assert scenarios_listed_by(etwdetect, cwd=malicious, env=env) == SHIPPED


@pytest.mark.slow
def test_a_package_of_that_name_that_was_imported_before_is_replaced(malicious):
    (malicious / "parity_tests" / "__init__.py").write_text("")
    (malicious / "parity_tests" / "loading.py").write_text("")
    code = (
        "import parity_tests.loading; from etwdetect.cli import main;"
        "raise SystemExit(main(['parity', 'scenarios', 'list']))"
    )
    done = start("-c", code, cwd=malicious, env=with_path(malicious, ROOT))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_namespace_package_of_that_name_that_was_imported_before_is_replaced(monkeypatch, tmp_path):
    (tmp_path / "elsewhere" / "some_package").mkdir(parents=True)
    folder = tmp_path / "here" / "some_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("FROM = 'here'")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    importlib.import_module("some_package")
    by_path.import_package(folder)
    assert sys.modules.pop("some_package").FROM == "here"


def test_a_package_that_is_imported_from_there_already_stays():
    by_path.import_package(ROOT / "parity_tests")
    assert sys.modules["parity_tests"] is parity_tests


def test_what_is_no_package_is_an_error(tmp_path):
    with pytest.raises(ImportError, match="is not a package"):
        by_path.import_package(tmp_path)


def test_a_module_that_is_started_by_path_is_not_searched_for_either(malicious):
    """Agents, which the vm bench starts elevated. Without an executor to connect to, they end."""
    command = "-I", by_path.__file__, ROOT / "parity_tests", "parity_tests.windows.agent", "1", "key", "name"
    done = start(*command, cwd=malicious, env=with_path(malicious))
    assert "ConnectionRefusedError" in done.stderr
    assert "must not run" not in done.stderr


@pytest.fixture
def installed(tmp_path):
    """The package as a wheel installs it, beside another's parity_tests; the environment that uses it."""
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    # Wine 8 lacks what shutil.copy2 calls.
    shutil.copytree(ROOT / "etwdetect", site / "etwdetect", ignore=ignored, copy_function=shutil.copyfile)
    (site / "parity_tests").mkdir()
    (site / "parity_tests" / "__init__.py").write_text(MALICIOUS)
    return site


SENTENCE = (
    "etwdetect: parity {} needs the parity tests, which are not part of the installed package; run it in a "
    "checkout of the etwdetect repository, or with etwdetect.exe from the .zip for Windows\n"
)


@pytest.mark.parametrize(
    "arguments", [("run",), ("run", "--bench", "vm", "name"), ("scenarios", "list"), ("run", "--help")]
)
def test_the_installed_package_says_where_the_parity_tests_are(installed, arguments):
    done = start("-P", "-m", "etwdetect", "parity", *arguments, cwd=ROOT, env=with_path(installed))
    assert (done.returncode, done.stdout, done.stderr) == (5, "", SENTENCE.format(arguments[0]))


def test_the_installed_package_lists_the_commands_and_compares(installed, tmp_path):
    env = with_path(installed)
    for name in ("etw.json", "driver.json"):
        (tmp_path / name).touch()
    listed = start("-P", "-m", "etwdetect", "parity", "--help", cwd=ROOT, env=env)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "Needs a checkout" in listed.stdout
    compared = start(
        "-P", "-m", "etwdetect", "parity", "compare", "etw.json", "driver.json", cwd=tmp_path, env=env
    )
    assert (compared.returncode, compared.stderr) == (0, "")


def test_the_project_of_somebody_else_is_no_checkout(installed):
    """As when a package is installed with --target into the folder of another project."""
    (installed / "pyproject.toml").write_text('[project]\nname = "another"\n')
    done = start("-P", "-m", "etwdetect", "parity", "run", env=with_path(installed))
    assert (done.returncode, done.stderr) == (5, SENTENCE.format("run"))


def test_in_the_unpacked_zip_they_are_beside_its_python(monkeypatch, tmp_path):
    package = tmp_path / "lib" / "etwdetect" / "__init__.py"
    tests = tmp_path / "parity_tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    monkeypatch.setattr(parity.etwdetect, "__file__", str(package))
    assert parity.tests_folder() is None
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python.exe"))
    assert parity.tests_folder() == tests
