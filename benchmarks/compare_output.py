"""Shows that two checkouts print the same: ``python benchmarks/compare_output.py BEFORE AFTER [INPUT...]``.

BEFORE and AFTER are checkouts: a worktree of an earlier commit, and this one. The inputs are the samples, random
histories written as traces, what is in ../shared/traces where that is there, and INPUT. Each goes through `scan`
in each format, `scan --stats`, `explain`, `report` and `events`. What each prints on standard output and writes to
files, its status and, with --errors, what it prints on standard error must be the same bytes. Figures of the run
itself (seconds, rates) are left out. The package of this checkout must be installed, or PYTHONPATH name it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from parity_tests.tests.histories import generate
from parity_tests.timeline import MIDNIGHT

ROOT: Final = Path(__file__).resolve().parents[1]
FORMATS: Final = ("text", "classic", "json", "sysmon", "ecs", "ocsf", "csv")
_CHANGES: Final = re.compile(rb"\d+(\.\d+)? s\b|seconds +[\d.]+|events per second +[\d,]+|\"Made\": *\"[^\"]*\"")

_WORKER: Final = """
import json, os, sys
from pathlib import Path
from etwdetect.cli import main
folder, orders = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
for number, argv in enumerate(orders):
    argv = [str(folder / word[1:]) if word[:1] == "@" else word for word in argv]
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{number}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        sys.stdout.flush(); sys.stderr.flush()
        os.dup2(file, stream)
        os.close(file)
    status = main(argv)
    sys.stdout.flush(); sys.stderr.flush()
    (folder / f"{number}.status").write_text(str(status))
"""


def orders_for(inputs: list[Path]) -> list[list[str]]:
    """Return the command lines to run; a word that begins with @ is a file to write."""
    orders = []
    for number, path in enumerate(inputs):
        orders += [["scan", str(path), "--utc", "--format", form] for form in FORMATS]
        orders += [
            ["scan", str(path), "--utc", "--stats"],
            ["explain", str(path), "--utc"],
            ["events", str(path), "-o", f"@{number}.jsonl"],
            ["report", str(path), "-o", f"@{number}.html"],
        ]
    return orders


def write_histories(folder: Path, count: int, seed: int) -> list[Path]:
    """Write *count* random histories into *folder* as traces of two CPUs."""
    written = []
    for number in range(count):
        history = generate(random.Random(f"{seed}-{number}"))
        path = folder / f"history-{number}.etl"
        with path.open("w+b") as file, TraceWriter(file, TraceOptions(MIDNIGHT, cpus=2)) as writer:
            for place, event in enumerate(history.events):
                writer.write(encode(event), cpu=place % 2)
        written.append(path)
    return written


def run(checkout: Path, folder: Path, orders: list[list[str]]) -> None:
    """Run *orders* with the code in *checkout*; what they print and write goes to *folder*."""
    folder.mkdir()
    listed = folder / "orders.json"
    listed.write_text(json.dumps(orders))
    command = (sys.executable, "-c", _WORKER, str(folder), str(listed))
    subprocess.run(command, cwd=checkout, check=True, env={"PYTHONPATH": str(checkout), "PATH": "", "TZ": "UTC"})


def differences(before: Path, after: Path, orders: list[list[str]], *, errors: bool) -> list[str]:
    """Return which of *orders* printed or wrote something else, a line each."""
    found = []
    for path in sorted(before.iterdir()):
        if path.name == "orders.json" or (path.suffix == ".err" and not errors):
            continue
        texts = [
            _CHANGES.sub(b"", (folder / path.name).read_bytes().replace(str(folder).encode(), b""))
            for folder in (before, after)
        ]
        if texts[0] != texts[1]:
            number = path.name.partition(".")[0]
            found.append(f"{path.name}: {' '.join(orders[int(number)])}")
    return found


def main() -> int:
    """Compare, and return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("inputs", type=Path, nargs="*")
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traces = folder / "traces"
        traces.mkdir()
        recordings = ROOT.parent / "shared" / "traces"
        inputs = [*sorted((ROOT / "samples").glob("*.etl")), *sorted(recordings.glob("*.etl")), *options.inputs]
        inputs += write_histories(traces, options.histories, options.seed)
        orders = orders_for([path.absolute() for path in inputs])
        for checkout, where in ((options.before, "before"), (options.after, "after")):
            run(checkout.absolute(), folder / where, orders)
        found = differences(folder / "before", folder / "after", orders, errors=options.errors)
    for line in found:
        print(line)
    print(f"{len(orders)} command lines over {len(inputs)} inputs: {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
