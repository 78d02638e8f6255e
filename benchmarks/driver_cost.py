"""What a notification costs the simulated kernel: ``python benchmarks/driver_cost.py``.

By what the new thread is and how many processes wait in the table. The simulated kernel's own part, a
notification that the driver ignores, is taken off. What matters is that a row is flat.
"""

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTIFICATIONS = "1000000"
LABELS = {
    "own": "own thread",
    "first": "new process and its first thread, on average",
    "remote": "remote thread",
}


def measure() -> dict[str, dict[int, float]]:
    """Return nanoseconds by case and number of entries."""
    subprocess.run(["make", "-s", "-C", ROOT / "driver", "sim"], check=True)
    program = ROOT / "build" / "driver" / "sim" / "Cost"
    output = subprocess.run([program, NOTIFICATIONS], check=True, capture_output=True, text=True).stdout
    costs: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for line in output.splitlines():
        case, entries, nanoseconds = line.split()
        costs[case][int(entries)] = float(nanoseconds)
    return costs


def main() -> None:
    if shutil.which("g++") is None or shutil.which("make") is None:
        sys.exit("g++ and make are needed")
    costs = measure()
    overhead = costs.pop("none")
    print(f"| notification | {' | '.join(f'{entries:,} waiting' for entries in overhead)} |")
    print(f"|---|{'---:|' * len(overhead)}")
    for case, by_entries in costs.items():
        cells = (f"{nanoseconds - overhead[entries]:.0f} ns" for entries, nanoseconds in by_entries.items())
        print(f"| {LABELS[case]} | {' | '.join(cells)} |")
    print(f"\nThe simulated kernel itself: {min(overhead.values()):.0f} ns, taken off.")


if __name__ == "__main__":
    main()
