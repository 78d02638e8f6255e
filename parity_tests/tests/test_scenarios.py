"""Every scenario on every bench that this machine has. A failure reads like the report of `parity run`."""

import pytest

from etwdetect.comparison import report
from parity_tests import runner
from parity_tests.benches import BENCHES
from parity_tests.describe import describe
from tests.shipped_scenarios import SCENARIOS

NEEDED = {"model": "compiler", "file": "compiler", "wine": "lab"}
NAMES = [pytest.param(name, marks=pytest.mark.needs(NEEDED[name]) if name in NEEDED else ()) for name in BENCHES]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("name", NAMES)
def test_both_detectors_report_what_the_scenario_says(bench, scenario):
    result, _ = runner.perform(bench, scenario)
    if result.status == "skipped":
        pytest.skip(result.skipped)
    if result.status == "failed":
        pytest.fail("\n".join((report.full(result), "", *describe(scenario))), pytrace=False)
