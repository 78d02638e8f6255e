"""The trace bench: both detectors on the events of recordings, real ones and the scenarios' own."""

from contextlib import ExitStack

import pytest

from etwdetect.comparison import report
from etwdetect.offline import Scan
from etwdetect.sources.etl.reader import Trace
from parity_tests.benches.file import write_trace
from parity_tests.benches.trace import replay
from parity_tests.timeline import expand
from tests.conftest import RECORDINGS, ROOT
from tests.shipped_scenarios import SCENARIOS

REAL = sorted(RECORDINGS.glob("*.etl"))
SAMPLES = sorted((ROOT / "samples").glob("*.etl"))

pytestmark = pytest.mark.usefixtures("simulated_kernel")


def replayed(file, name, **options):
    result = replay(Scan([Trace(file, name)], **options))
    if result.status == "failed":
        pytest.fail(report.full(result), pytrace=False)
    return result


@pytest.mark.skipif(not REAL, reason="the real traces are not in ../shared/traces")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_the_detectors_agree_on_a_real_trace(path):
    with path.open("rb") as file:
        replayed(file, path.name)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_detectors_agree_on_a_sample(path):
    with path.open("rb") as file:
        assert replayed(file, path.name).statistics["etw"]["threads"] > 0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_detectors_agree_on_the_trace_of_a_scenario(scenario, tmp_path):
    timeline = expand(scenario)
    with ExitStack() as stack:
        file = stack.enter_context((tmp_path / "timeline.etl").open("w+b"))
        write_trace(file, timeline, scenario.machine.cpus)
        result = replayed(file, scenario.name, bound=scenario.machine.table_bound)
    alone = sum(each.times for each in scenario.expect if each.only == "driver")
    assert len(result.comparison.explained) == alone
    assert len(result.comparison.matched) == sum(each.times for each in scenario.expect if each.only is None)
