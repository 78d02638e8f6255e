"""The Windows side of the wine bench: ``python -m parity_tests.windows.lab_worker``, in the Windows lab.

Takes a scenario a line from standard input, `{"name", "text"}`, performs it before the stand-in for event tracing
and the driver, and prints what both said a line each: an `exchange` document, or `{"error"}`.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

from etwdetect.core.errors import EtwDetectError
from etwdetect.kdetector import service
from parity_tests import loading
from parity_tests.windows import driver_service, exchange
from parity_tests.windows.detectors import Detectors
from parity_tests.windows.executor import perform
from parity_tests.windows.notifier import DRIVER

if TYPE_CHECKING:
    from parity_tests.scenario import Scenario


def main() -> None:
    """Perform what is asked for until there is no more; Ctrl+C is for the other side, which then asks no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        sys.stdout.write(_answer(json.loads(line)) + "\n")
        sys.stdout.flush()


def _answer(request: dict[str, str]) -> str:
    try:
        scenario = loading.parse(request["text"], request["name"])
        return exchange.dump(perform(scenario, lambda: load(scenario), notify=True))
    except (EtwDetectError, OSError) as error:
        return json.dumps({"error": str(error)})
    finally:
        driver_service.remove()


def load(scenario: Scenario) -> Detectors:
    """Load the driver anew, its table empty and its bound as *scenario* has it; return both detectors."""
    bound = scenario.machine.table_bound
    driver_service.remove()
    service.install(DRIVER, table_bound=bound)
    service.start()
    return Detectors(bound)


if __name__ == "__main__":
    main()
