"""What of the wine and vm benches needs no Windows: which scenarios they perform, and what they refuse."""

import os
import subprocess
import sys

import pytest

from etwdetect.comparison.pairing import Equality
from etwdetect.comparison.result import Side
from etwdetect.core.rule import RemoteThread
from parity_tests import loading
from parity_tests.benches.wine import WineBench
from parity_tests.errors import BenchUnavailableError, PerformanceError
from parity_tests.evaluation import Observation
from parity_tests.steps import ThreadRef
from parity_tests.windows import cdb_roles, exchange
from parity_tests.windows.capabilities import obstacle
from parity_tests.windows.ids import RealIds
from parity_tests.windows.machine import is_virtual
from tests.shipped_scenarios import SCENARIOS

ON_BOTH = {
    "a-debugger-starts-its-debuggee",
    "a-spoofed-parent",
    "an-ordinary-program-start",
    "attach-detach-attach-again",
    "attach-then-break",
    "injected-before-resume",
    "non-invasive-attach",
    "process-explorer-left-running",
    "running-before-detection",
    "start-address-in-no-image",
    "the-five-example-lines",
    "the-new-windbg",
    "thread-at-loadlibrary",
    "windbg-attaches-to-notepad",
}
WITH_CDB = {
    "a-debugger-starts-its-debuggee": {"windbg"},
    "attach-then-break": {"windbg"},
    "non-invasive-attach": {"windbg"},
    "running-before-detection": {"windbg"},
    "the-five-example-lines": {"windbg", "cdb"},
    "the-new-windbg": {"EngHost"},
    "windbg-attaches-to-notepad": {"windbg"},
}
IN_WINE_ALONE = {
    "born-in-the-gap",
    "own-thread-before-the-first",
    "table-overflow",
    "the-33rd-waiting-process",
    "the-dead-take-no-room",
}


def performed(*, notify):
    return {scenario.name for scenario in SCENARIOS if obstacle(scenario, notify=notify) is None}


def test_these_scenarios_are_performed_on_windows():
    assert performed(notify=False) >= ON_BOTH
    assert not performed(notify=False) & IN_WINE_ALONE


def test_these_scenarios_are_performed_in_wine():
    assert performed(notify=True) >= ON_BOTH | IN_WINE_ALONE


def test_these_debuggers_of_the_scenarios_that_are_performed_can_be_cdb():
    roles = {each.name: cdb_roles.for_cdb(list(each.flat_steps())) for each in SCENARIOS if each.name in ON_BOTH}
    assert {name: names for name, names in roles.items() if names} == WITH_CDB


@pytest.mark.parametrize(
    "steps",
    [
        "{ attach_debugger = 'n', by = 'w' }, { break_in = 'n', by = 'w/two' }",
        "{ start_under_debugger = 'm', by = 'w' }, { break_in = 'm', by = 'w' }",
        "{ attach_debugger = 'n', by = 'w', invasive = false }, { detach = 'n', by = 'w' }",
    ],
)
def test_a_debugger_that_only_debugs_one_process_once_is_for_cdb(steps):
    assert for_cdb(steps) == {"w"}


@pytest.mark.parametrize(
    ("steps", "what_else"),
    [
        ("{ attach_debugger = 'n', by = 'w' }, { detach = 'n', by = 'w' }", "lets go of what it broke into"),
        ("{ create_thread = 'w' }, { attach_debugger = 'n', by = 'w' }", "makes a thread"),
        ("{ attach_debugger = 'n', by = 'w' }, { exit_process = 'w' }", "ends before the timeline does"),
        ("{ attach_debugger = 'n', by = 'w' }, { attach_debugger = 'o', by = 'w' }", "debugs two"),
        ("{ attach_debugger = 'n', by = 'w' }, { attach_debugger = 'w', by = 'o' }", "is debugged itself"),
        ("{ attach_debugger = 'n', by = 'w' }, { start_process = 'm', by = 'o', parent = 'w' }", "is a parent"),
    ],
)
def test_a_debugger_that_does_anything_else_is_not_for_cdb(steps, what_else):
    assert "w" not in for_cdb(steps), what_else


def for_cdb(steps):
    timeline = f"""
        title = "t"
        why = "w"
        steps = [{steps}]
        expect = []
        processes = {{ n = {{ running = true }}, o = {{ running = true }}, w.running = true, w.threads = ["two"] }}
    """
    return cdb_roles.for_cdb(loading.parse(timeline, "timeline").steps)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("burst-of-5000-starts", "it starts 5,000 processes; this bench starts at most 100"),
        ("a-process-id-is-used-again", "two processes or threads have the id 6000"),
        ("a-thread-id-is-used-again", "two processes or threads have the id 7000"),
        ("a-thread-pool-worker", "step 1 (create_remote_thread): System runs no agent"),
        ("an-id-ends-and-begins-in-one-tick", "the clock tick of a real machine is fixed"),
        ("an-unknown-creator", "step 1 (create_remote_thread): ETW logs the creator"),
        ("ctrl-c-in-a-console", "step 2 (console_control): csrss"),
        ("first-thread-from-a-stranger", "step 1 (create_process_without_thread)"),
        ("memory-compression", "step 1 (create_remote_thread): threads of a program do not start in the kernel"),
    ],
)
@pytest.mark.parametrize("notify", [True, False])
def test_a_scenario_that_cannot_be_performed_says_which_step_and_why(name, reason, notify):
    (scenario,) = (each for each in SCENARIOS if each.name == name)
    assert obstacle(scenario, notify=notify).startswith(reason)


def test_a_bound_of_the_table_is_for_wine_alone():
    (scenario,) = (each for each in SCENARIOS if each.name == "table-overflow")
    assert obstacle(scenario, notify=False) == "the loaded driver has room for 16,384 new processes, not for 4"


def test_very_many_threads_are_for_windows_alone():
    (scenario,) = (each for each in SCENARIOS if each.name == "20000-remote-threads-in-a-second")
    assert obstacle(scenario, notify=True) == "it has 20,000 steps; this bench performs at most 1,000"
    assert obstacle(scenario, notify=False) is None


def test_a_start_in_two_halves_is_for_wine_alone():
    (scenario,) = (each for each in SCENARIOS if each.name == "born-in-the-gap")
    assert obstacle(scenario, notify=False).startswith("step 1 (begin_process): Windows creates")


def test_an_observation_comes_through_a_line_of_json_as_it_was():
    ids = RealIds(
        {"notepad": 200, "(marker)": 300}, {ThreadRef("notepad"): 201, ThreadRef("notepad", "break-in"): 202}
    )
    etw = Side([RemoteThread(132_337_152_000_000_001, 100, 101, 200, 202)], {"threads": 3})
    driver = Side([RemoteThread(132_337_152_000_000_002, 100, 101, 200, 202)], {"threads": 4})
    before = Observation(etw, driver, Equality.LIVE, ids, ("one note",))
    line = exchange.dump(before)
    assert "\n" not in line
    assert exchange.load(line) == before


def test_a_process_that_was_not_started_has_no_id():
    with pytest.raises(PerformanceError, match="notepad was not started"):
        RealIds().pid_of("notepad")
    with pytest.raises(PerformanceError, match="the thread notepad/main was not created"):
        RealIds().tid_of(ThreadRef("notepad"))


@pytest.mark.parametrize(
    ("words", "virtual"),
    [
        (["Microsoft Corporation", "Virtual Machine", "American Megatrends Inc."], True),
        (["VMware, Inc.", "VMware7,1"], True),
        (["innotek GmbH", "VirtualBox"], True),
        (["QEMU", "Standard PC (Q35 + ICH9, 2009)", "SeaBIOS"], True),
        (["Amazon EC2", "t3.large"], True),
        (["Microsoft Corporation", "Surface Pro 9"], False),
        (["Dell Inc.", "OptiPlex 7010"], False),
        ([], False),
    ],
)
def test_a_virtual_machine_is_known_by_its_firmware(words, virtual):
    assert is_virtual(words) is virtual


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_the_vm_bench_is_for_windows(etwdetect):
    ran = etwdetect("parity", "run", "non-invasive-attach", "--bench", "vm")
    assert (ran.status, ran.out) == (5, "")
    assert "the vm bench needs a Windows test machine; this system is" in ran.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no Wine on Windows")
def test_without_wine_the_wine_bench_says_what_is_missing(etwdetect, tmp_path):
    (tmp_path / "make").symlink_to("/usr/bin/make")
    ran = etwdetect("parity", "run", "--bench", "wine", env={**os.environ, "PATH": str(tmp_path)})
    assert (ran.status, ran.out) == (5, "")
    assert "no Windows lab: wine" in ran.err


def test_without_a_checkout_there_is_no_lab(monkeypatch, tmp_path):
    monkeypatch.setattr("parity_tests.benches.wine.ROOT", tmp_path)
    with pytest.raises(BenchUnavailableError, match="run it in a checkout"), WineBench():
        pass


def test_a_windows_side_that_does_not_answer_is_ended(monkeypatch):
    class Lab:
        def start_python(self, *_arguments, env):  # noqa: ARG002
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **pipes)

    monkeypatch.setattr("parity_tests.benches.wine.build", lambda: None)
    monkeypatch.setattr("parity_tests.benches.wine._LONGEST_SCENARIO", 0.5)
    with (
        WineBench(Lab()) as bench,
        pytest.raises(PerformanceError, match="it was ended, because it did not answer"),
    ):
        bench.perform(SCENARIOS[0])


def test_a_scenario_without_a_file_is_not_handed_to_the_lab():
    text = SCENARIOS[0].path.read_text("utf-8")
    assert WineBench().cannot(loading.parse(text, "no file")) == "it is in no file"
