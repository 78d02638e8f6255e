"""The .zip for Windows machines without Python, unpacked into a path with a blank and started there."""

import ast
import hashlib
import os
import pty
import re
import threading
import tomllib
import zipfile
from pathlib import PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import etwdetect
from parity_tests.simulators.build import make
from tools.windows_lab.errors import LabError
from tools.windows_lab.lab import PROJECT
from tools.windows_lab.windows_python import EMBED_PYTHON, PATH_FILE
from tools.windows_lab.wine import windows_path
from tools.windows_zip import wheels
from tools.windows_zip.archive import write_zip, zip_bytes
from tools.windows_zip.bundle import assemble, fetch
from tools.windows_zip.platforms import ARM64, X64

FOLDER = "etwdetect 0.1 für Windows"
INJECT = "from parity_tests.windows.injector import Injector; Injector().thread_created(3000, 7)"
SAMPLE = windows_path(PROJECT / "samples" / "windbg-attach.etl")


@pytest.fixture(scope="session")
def parts(lab):  # noqa: ARG001 (without a lab, nothing is fetched)
    return fetch(PROJECT)


@pytest.fixture(scope="session")
def files(parts):
    return assemble(parts)


@pytest.fixture(scope="session")
def archive(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "etwdetect.zip"
    write_zip(path, FOLDER, files)
    return path


@pytest.fixture(scope="session")
def unpacked(archive, tmp_path_factory):
    """The folder with etwdetect.exe, in one whose name has blanks and a letter beyond ASCII."""
    folder = tmp_path_factory.mktemp("Program Files")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / FOLDER


@pytest.fixture
def run(lab, unpacked):
    """Start etwdetect.exe with arguments."""

    def start(*arguments, **options):
        return lab.run(windows_path(unpacked / "etwdetect.exe"), *arguments, **options)

    return start


def test_it_says_its_version(run):
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"etwdetect, version {etwdetect.__version__}\n", "")


def test_it_scans_a_trace(run):
    done = run("scan", SAMPLE, "--utc", "--format", "classic")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "13:08:15.280: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384\n"
        "13:08:58.660: Remote Thread from PID: 7392 TID: 13092 -> PID: 8336 TID: 13288\n"
    )
    assert "windbg-attach.etl: 2 remote threads in 7 thread starts" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("scan", "--exit-code", SAMPLE), 10), (("scan", "not there.etl"), 1), (("scan", "--no-such-option"), 2)],
)
def test_it_ends_with_the_status_of_the_command(run, arguments, status):
    assert run(*arguments).returncode == status


def test_arguments_reach_it_as_they_are(run, tmp_path):
    output = tmp_path / "a name with blanks & % ^ ! ö"
    assert run("scan", SAMPLE, "--output", windows_path(output)).returncode == 0
    assert "8336" in output.read_text("utf-8")


def test_monitor_says_what_it_lacks(run):
    """Wine has no event tracing: it is as if another program refused it."""
    done = run("monitor")
    assert (done.returncode, done.stdout) == (1, "")
    assert "OpenTrace: " in done.stderr
    assert "(5); this process is elevated, so another program refuses it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sigma_rules_can_be_asked(run, tmp_path):
    (tmp_path / "rule.yml").write_text(
        "title: A debugger\nlogsource: {product: windows, category: create_remote_thread}\n"
        "detection: {s: {SourceImage|endswith: '\\windbg.exe'}, condition: s}\n"
    )
    done = run("scan", SAMPLE, "--sigma", windows_path(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Sigma: A debugger\n") == 2


def test_a_report_can_be_made(run, tmp_path):
    assert run("report", SAMPLE, "-o", windows_path(tmp_path / "report.html")).returncode == 0
    assert "windbg.exe" in (tmp_path / "report.html").read_text("utf-8")


def test_parity_scenarios_are_those_of_its_own_folder(run, unpacked):
    """The current folder is the checkout, which has scenarios too."""
    extra = unpacked / "parity_tests" / "scenarios" / "only-here.toml"
    extra.write_text((unpacked / "parity_tests" / "scenarios" / "non-invasive-attach.toml").read_text("utf-8"))
    try:
        done = run("parity", "scenarios", "list")
    finally:
        extra.unlink()
    assert (done.returncode, done.stderr) == (0, "")
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {path.stem for path in (PROJECT / "parity_tests" / "scenarios").glob("*.toml")} | {
        "only-here"
    }


@pytest.mark.parametrize(
    ("bench", "needs"), [("model", "run this in a checkout"), ("wine", "run it in a checkout")]
)
def test_benches_that_need_a_compiler_or_wine_say_so(run, bench, needs):
    done = run("parity", "run", "a-spoofed-parent", "--bench", bench)
    assert (done.returncode, done.stdout) == (5, "")
    assert needs in done.stderr


def test_ctrl_c_ends_it_as_it_ends_the_command(run, lab, unpacked, drivers, no_driver):  # noqa: ARG001 (takes it away)
    """A batch file would ask first, and a launcher that ends at once would leave Python running."""
    for command in (("install", windows_path(drivers / "KDetector.sys")), ("start",)):
        done = run("driver", *command)
        assert done.returncode == 0, done.stderr
    keyboard, screen = pty.openpty()
    try:
        command = windows_path(unpacked / "etwdetect.exe"), "driver", "watch", "--format", "classic"
        with lab.start(*command, terminal=screen) as process:
            # One that does not end must not keep the test from failing.
            killer = threading.Timer(300, process.kill)
            killer.start()
            assert lab.run_python("-c", INJECT).returncode == 0
            assert process.stdout.readline().rstrip().endswith(b"-> PID: 3000 TID: 7")
            os.write(keyboard, b"\x03")
            output, errors = process.communicate(timeout=120)
            killer.cancel()
    finally:
        os.close(screen)
        os.close(keyboard)
    assert (process.returncode, output) == (0, b"")
    assert errors.decode().splitlines() == ["etwdetect: KDetector: 1 remote thread, 0 more were lost"]


def test_it_uses_its_own_python_whatever_there_is_beside(run, unpacked, lab, tmp_path):
    (tmp_path / "etwdetect").mkdir()
    (tmp_path / "etwdetect" / "__init__.py").write_text("raise SystemExit('another one')")
    assert run("--version", env={"PYTHONPATH": windows_path(tmp_path)}).returncode == 0
    code = "import etwdetect, platform; print(ascii([etwdetect.__file__, platform.python_version()]))"
    done = lab.run(windows_path(unpacked / "python" / "python.exe"), "-c", code)
    file = rf"{windows_path(unpacked)}\lib\etwdetect\__init__.py"
    assert ast.literal_eval(done.stdout) == [file, EMBED_PYTHON]


@pytest.fixture
def machine(lab):
    """Let the lab's services be on a simulated machine, whose event tracing works."""
    assert make(PROJECT / "simetw").returncode == 0
    key = r"HKLM\SOFTWARE\simetw"
    lab.run("reg", "add", key, "/v", "Machine", "/d", f"zip-{os.getpid()}", "/f")
    yield
    lab.run("reg", "delete", key, "/f")


def unpack_with_stand_in(archive, folder):
    """Unpack the .zip into *folder*, with the stand-in for event tracing in its Python; return its program."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    with (folder / FOLDER / "python" / PATH_FILE).open("a", encoding="utf-8") as paths:
        paths.write(windows_path(PROJECT / "simetw" / "python") + "\nimport site\n")
    return windows_path(folder / FOLDER / "etwdetect.exe")


def test_a_newer_one_takes_over_the_running_service_with_its_configuration(lab, machine, archive, tmp_path):  # noqa: ARG001
    old, new = (unpack_with_stand_in(archive, tmp_path / name) for name in ("old", "new"))
    config, output = tmp_path / "service.toml", tmp_path / "hits.json"
    config.write_text(f"format = 'json'\noutput = '{windows_path(output)}'\n")

    def service(program, *arguments):
        done = lab.run(program, "service", *arguments, timeout=300)
        assert done.returncode == 0, done.stderr
        return [line.removeprefix("etwdetect: ") for line in (done.stdout + done.stderr).splitlines()]

    try:
        service(old, "install", "--config", windows_path(config))
        assert service(old, "start") == ["the service etwdetect is running"]
        assert service(new, "install") == [
            f"installed the service etwdetect, with the configuration {windows_path(config)}",
            "the service etwdetect has stopped",
            "the service etwdetect is running",
        ]
        query = lab.run("reg", "query", r"HKLM\SYSTEM\CurrentControlSet\Services\etwdetect", "/v", "ImagePath")
        assert windows_path(tmp_path / "new") in query.stdout
        assert service(new, "stop") == ["the service etwdetect has stopped"]
    finally:
        service(new, "uninstall")
    said = [line.split(" ", 1)[1] for line in (tmp_path / "service.log").read_text().splitlines()]
    assert [line for line in said if line.startswith("the service")] == 2 * [
        f"the service runs: etwdetect {etwdetect.__version__}",
        "the service ends, as it was told, with exit status 0",
    ]


def test_the_same_parts_give_the_same_bytes(parts, archive, tmp_path):
    digest = write_zip(tmp_path / "again.zip", FOLDER, assemble(parts))
    assert (tmp_path / "again.zip.sha256").read_text() == f"{digest} *again.zip\n"
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert digest == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_nothing_for_developers_is_in_it(files):
    names = [PurePosixPath(name) for name in files]
    assert not [name for name in names if "tests" in name.parts or name.suffix in {".pyi", ".h", ".lib", ".pyc"}]
    assert {name.parts[1] for name in names if name.parts[0] == "lib"}.isdisjoint({"pytest", "distlib", "pip"})
    assert not [name for name, content in files.items() if str(PROJECT).encode() in content]


def test_each_package_has_its_licence_in_it(files):
    listed = files["licences/README.txt"].decode()
    packages = {name.split("/")[1] for name in files if name.endswith(".dist-info/METADATA")}
    assert len(packages) > 20
    for package in packages:
        name, version = package.removesuffix(".dist-info").split("-")
        folder = re.compile(f"licences/{re.sub('[-_.]', '[-_.]', name)}-{re.escape(version)}/", re.IGNORECASE)
        assert any(map(folder.match, files)), f"no licence of {package}"
        assert version in listed
    assert b"PYTHON SOFTWARE FOUNDATION LICENSE" in files["licences/CPython/LICENSE.txt"]
    assert b"GNU LESSER GENERAL PUBLIC LICENSE" in b"".join(
        content for name, content in files.items() if name.startswith("licences/libfwnt-python")
    )


@pytest.mark.parametrize("platform", [X64, ARM64], ids=["x64", "arm64"])
def test_all_that_the_project_asks_for_is_locked(platform):
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = {}
    for line in platform.lock.read_text("utf-8").splitlines()[1:]:
        name, _, rest = line.partition("==")
        version, _, digest = rest.partition(" --hash=sha256:")
        assert re.fullmatch("[0-9a-f]{64}", digest), line
        locked[canonicalize_name(name)] = version
    for requirement in map(
        Requirement, [*pyproject["dependencies"], *pyproject["optional-dependencies"]["sigma"]]
    ):
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_a_wheel_without_a_licence_is_refused(tmp_path):
    path = tmp_path / "none-1-py3-none-any.whl"
    path.write_bytes(zip_bytes({"none-1.dist-info/METADATA": b"Name: none\nVersion: 1\n"}))
    with pytest.raises(LabError, match="no licence in it"):
        wheels.read(path)
