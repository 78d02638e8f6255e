"""Break one side in one place at a time; scenarios must fail: ``python -m parity_tests.tests.mutation [WORD]``.

mutations.toml has the changes: each row of the rule on either side, the bound, the order; with WORD only those
that have it in their name. They are made in a copy of the checkout, where the scenarios run on the benches that
need no Windows. The trace bench replays the traces of the scenarios, the samples and, where they are, the real
ones. Changes marked `wine` are also made on the wine bench, in a lab of the copy's own, where there can be one.
Prints a table in Markdown; ends with status 1 if a bench did not notice a change. Half a minute a change, and a
minute more in Wine.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from parity_tests.checkout import ROOT

RECORDINGS = ROOT.parent / "shared"
WINE = "wine"
BENCHES = {
    "model": ("parity_tests/tests/test_scenarios.py", "-k", "model"),
    "file": ("parity_tests/tests/test_scenarios.py", "-k", "file"),
    "trace": ("parity_tests/tests/test_recordings.py",),
    WINE: ("parity_tests/tests/test_scenarios.py", "-k", WINE),
}
SIGNS = (
    re.compile(r"^(?:FAILED|ERROR) \S*?\[(?:model-|file-|wine-)?(\S+)\]", re.MULTILINE),
    re.compile(r"\*\*\* STOP: (\w+)"),
)


def load():
    """Return the changes."""
    return tomllib.loads(Path(__file__).with_name("mutations.toml").read_text())["mutation"]


def apply(mutation, path):
    text = path.read_text()
    if (times := text.count(mutation["old"])) != 1:
        sys.exit(f"{mutation['what']}: {times} times in {path.name}, not once:\n{mutation['old']}")
    path.write_text(text.replace(mutation["old"], mutation["new"]))


def noticed_by(bench, work):
    """Return the first red scenario, or None where all are green, and what was printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *BENCHES[bench]]
    environment = {name: value for name, value in os.environ.items() if name != "ETWDETECT_WINDOWS_LAB"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work, env=environment)
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return None, output
    found = (pattern.search(output) for pattern in SIGNS)
    return next((match[1] for match in found if match), "a crash"), output


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    unnoticed = 0
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory) / "checkout"
        for name in ("etwdetect", "driver", "parity_tests", "samples", "simetw", "tools"):
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / name, work)
        (work / "tests").mkdir()
        shutil.copy(ROOT / "tests" / "conftest.py", work / "tests")
        if RECORDINGS.is_dir():
            (work.parent / "shared").symlink_to(RECORDINGS)
        benches = []
        for bench in BENCHES:
            red, output = noticed_by(bench, work)
            if red:
                sys.exit(f"{red} is red on the {bench} bench without any change:\n{output}")
            if re.search(r"^\d+ passed", output, re.MULTILINE):  # else this machine has no such bench
                benches.append(bench)
        made = [mutation for mutation in load() if word in mutation["what"]]
        sys.stdout.write(f"| change | {' | '.join(benches)} |\n|---|{'---|' * len(benches)}\n")
        for mutation in made:
            unnoticed += not check(mutation, work, benches)
    sys.stdout.write(f"\n{len(made)} changes, {unnoticed} unnoticed\n")
    return 1 if unnoticed else 0


def check(mutation, work, benches):
    """Make one change and print its row; return whether each bench that can notice it did."""
    path = work / mutation["file"]
    unchanged = path.read_text()
    apply(mutation, path)
    seen = {}
    for bench in benches:
        if bench == WINE and not mutation.get("wine"):
            continue
        seen[bench], output = noticed_by(bench, work)
        if "cannot be built" in output:
            sys.exit(f"{mutation['what']}: does not compile\n{output}")
    path.write_text(unchanged)
    excused = mutation.get("unseen_on", {}).get("benches", ())
    words = {bench: red or ("cannot" if bench in excused else "**nothing**") for bench, red in seen.items()}
    cells = [words.get(bench, "not tried") for bench in benches]
    sys.stdout.write(f"| {mutation['what']} | {' | '.join(cells)} |\n")
    sys.stdout.flush()
    return all(red for bench, red in seen.items() if bench not in excused)


if __name__ == "__main__":
    sys.exit(main())
