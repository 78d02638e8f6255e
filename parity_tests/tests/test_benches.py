"""How the benches deliver a timeline: in ETW's order, with its losses, and to a fresh driver each time."""

import io
import tomllib
from pathlib import Path

import pytest

from etwdetect.core.events import ImageLoad, ProcessRundown, ProcessStart, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.enrich import kinds
from etwdetect.offline import Scan
from etwdetect.sources.decode import Decoder
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Wanted
from parity_tests import loading, runner
from parity_tests.benches import BENCHES, Bench, open_bench
from parity_tests.benches.file import write_trace
from parity_tests.benches.model import delivered
from parity_tests.benches.sides import driver_side
from parity_tests.benches.trace import replay
from parity_tests.errors import BenchUnavailableError, ScenarioError
from parity_tests.scenario import KINDS
from parity_tests.simulators import build
from parity_tests.simulators.simkernel import Kind, SimEvent
from parity_tests.timeline import expand
from tests.conftest import needs_numpy
from tests.shipped_scenarios import SCENARIOS
from tests.traces_by_writer import START
from tests.traces_by_writer import write_trace as write_events

BURST = expand(next(scenario for scenario in SCENARIOS if scenario.name == "burst-of-5000-starts"))


simulated = pytest.mark.usefixtures("simulated_kernel")


def early(events):
    """Return how many first threads come before their process."""
    born, count = set(), 0
    for event in events:
        if isinstance(event, ProcessStart):
            born.add(event.pid)
        elif isinstance(event, ThreadStart) and event.creator_pid != event.pid:
            count += event.pid not in born
    return count


def test_the_model_bench_delivers_a_burst_out_of_order():
    events = list(delivered(BURST.etw_entries()))
    assert early(events) > 100
    assert early(sorted(events, key=order_of)) == 0


@needs_numpy
def test_the_file_bench_writes_a_burst_out_of_order():
    file = io.BytesIO()
    write_trace(file, BURST, 16)
    decoder = Decoder(lambda *_: None)
    records = Trace(file, "burst.etl").records(Wanted((), (KERNEL_PROCESS,)))
    assert early(event for raw in records if (event := decoder.decode(raw))) > 100
    assert early(Scan([Trace(file, "burst.etl")]).events()) == 0


def test_the_file_has_the_losses_and_the_listings_of_the_story():
    scenario = loading.find(None, ["an-exit-that-etw-lost"])[0]
    file = io.BytesIO()
    write_trace(file, expand(scenario), 1)
    scan = Scan([Trace(file, "timeline.etl")])
    listed = {event.pid for event in scan.events() if isinstance(event, ProcessRundown)}
    assert scan.result().events_lost == 1
    assert {0, 4} < listed


@simulated
def test_each_run_has_a_fresh_driver():
    new = SimEvent(1, Kind.PROCESS_CREATED, 100, 101, 200)
    remote = SimEvent(2, Kind.THREAD_CREATED, 100, 101, 200, 201)
    assert driver_side([new], 4).statistics["waiting"] == 1
    side = driver_side([remote], 4)
    assert len(side.records) == 1
    assert side.statistics["threads"] == 1


@simulated
def test_more_records_than_the_drivers_queue_holds_are_all_read():
    remote = (SimEvent(time, Kind.THREAD_CREATED, 100, 101, 200, 201) for time in range(100_000))
    side = driver_side(remote, 4)
    assert [record.time for record in side.records] == list(range(100_000))
    assert side.statistics["lost records"] == 0


@simulated
def test_on_the_trace_bench_records_of_unknown_creators_are_explained(tmp_path):
    unknown = 0xFFFFFFFF
    events = [
        ThreadStart(START + 1, unknown, unknown, 200, 201),
        ThreadStart(START + 2, 100, 101, 200, 202),
        ProcessStart(START + 3, 100, 101, 300),
        ThreadStart(START + 4, unknown, unknown, 300, 301),
        ThreadStart(START + 5, 100, 101, 300, 302),
    ]
    with write_events(tmp_path / "unknown.etl", events).open("rb") as file:
        result = replay(Scan([Trace(file, "unknown.etl")]))
    assert result.status == "passed"
    assert [record.tid for record in result.comparison.explained] == [201]
    assert [pair.etw.tid for pair in result.comparison.matched] == [202, 302]


class Odd(Bench):
    name = "odd"

    def cannot(self, scenario):
        return "no debugger here" if "attach" in scenario.name else None

    def perform(self, scenario):
        raise ScenarioError("the machine is on fire", name=scenario.name)


def test_what_a_bench_cannot_perform_is_skipped_with_the_reason():
    (scenario,) = loading.find(None, ["non-invasive-attach"])
    result, _ = runner.perform(Odd(), scenario)
    assert (result.status, result.skipped) == ("skipped", "no debugger here")


def test_what_a_bench_fails_to_perform_is_a_failure_with_the_reason():
    (scenario,) = loading.find(None, ["a-spoofed-parent"])
    result, _ = runner.perform(Odd(), scenario)
    assert result.status == "failed"
    assert result.complaints == ("could not be performed: a-spoofed-parent: the machine is on fire",)


@simulated
def test_a_trace_that_cannot_be_replayed_is_a_failure_with_the_reason_and_the_next_goes_on(tmp_path):
    events = [ThreadStart(START + 2, 100, 101, 200, 202)]
    path = write_events(tmp_path / "a.etl", events)
    with path.open("rb") as closed, path.open("rb") as file:
        scans = [Scan([Trace(closed, "full disk.etl")]), Scan([Trace(file, "a.etl")])]
        scans[0].events = full_disk
        failed, passed = runner.replay_all(scans)
    assert failed.complaints == ("could not be replayed: [Errno 28] No space left",)
    assert (failed.status, passed.status) == ("failed", "passed")


def full_disk():
    raise OSError(28, "No space left")


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_is_called_what_its_module_is(name):
    assert open_bench(name).name == name


def test_without_a_checkout_the_simulated_kernel_is_no_more_there_and_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_DRIVER", tmp_path)
    with pytest.raises(BenchUnavailableError, match="in a checkout of the repository"):
        build.library.__wrapped__()


def test_without_a_compiler_the_library_that_is_there_is_taken_and_the_remedy_told_else(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "sim.so")
    with pytest.raises(BenchUnavailableError, match="apt-get install make g"):
        build.library.__wrapped__()
    build.LIBRARY.touch()
    assert build.library.__wrapped__() == tmp_path / "sim.so"


def test_the_kinds_that_scenarios_expect_are_those_of_the_built_in_rules():
    rules = tomllib.loads((Path(kinds.__file__).parent / "kinds.toml").read_text())["rule"]
    assert set(KINDS) <= {rule.get("kind") for rule in rules}  # some raise a severity alone


def test_every_kind_is_expected_by_a_scenario():
    assert {each.kind for scenario in SCENARIOS for each in scenario.expect} >= set(KINDS)


def test_images_are_listed_for_what_runs_already():
    timeline = expand(loading.find(None, ["thread-at-loadlibrary"])[0])
    listed = [
        entry.event for entry in timeline.entries if isinstance(entry.event, ImageLoad) and entry.event.rundown
    ]
    assert {event.pid for event in listed} == {
        timeline.processes.pid_of(name) for name in ("explorer", "injector")
    }
