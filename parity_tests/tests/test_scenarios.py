"""Every scenario on every bench that this machine has. A failure reads like the report of `parity run`."""

import pytest

from etwdetect.comparison import report
from parity_tests import loading, runner
from parity_tests.benches import BENCHES
from parity_tests.describe import describe

SCENARIOS = loading.find(None)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("name", BENCHES)
def test_both_detectors_report_what_the_scenario_says(bench, scenario):
    result = runner.perform(bench, scenario)
    if result.status == "skipped":
        pytest.skip(result.skipped)
    if result.status == "failed":
        pytest.fail("\n".join((report.full(result), "", *describe(scenario))), pytrace=False)
