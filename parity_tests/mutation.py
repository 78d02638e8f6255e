"""Break one side in one place at a time and demand red scenarios: ``python parity_tests/mutation.py [WORD]``.

mutations.toml has the changes: each row of the rule on either side, the bound, the order; with WORD only those
that have it in their name. They are made in a copy of the checkout, where the scenarios run on the benches that
need no Windows. The trace bench replays the traces of the scenarios, the samples and, where they are, the real
ones. Prints a table in Markdown; ends with status 1 if a bench did not notice a change. Half a minute a change.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
RECORDINGS = CHECKOUT.parent / "shared"
BENCHES = {
    "model": ("parity_tests/test_scenarios.py", "-k", "model"),
    "file": ("parity_tests/test_scenarios.py", "-k", "file"),
    "trace": ("parity_tests/test_recordings.py",),
}
SIGNS = (
    re.compile(r"^(?:FAILED|ERROR) \S*?\[(?:model-|file-)?(\S+)\]", re.MULTILINE),
    re.compile(r"\*\*\* STOP: (\w+)"),
)


def apply(mutation, path):
    text = path.read_text()
    if (times := text.count(mutation["old"])) != 1:
        sys.exit(f"{mutation['what']}: {times} times in {path.name}, not once:\n{mutation['old']}")
    path.write_text(text.replace(mutation["old"], mutation["new"]))


def noticed_by(bench, work):
    """Return the first red scenario, or None where all are green, and what was printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *BENCHES[bench]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work)
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return None, output
    found = (pattern.search(output) for pattern in SIGNS)
    return next((match[1] for match in found if match), "a crash"), output


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    mutations = tomllib.loads((CHECKOUT / "parity_tests" / "mutations.toml").read_text())["mutation"]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory) / "checkout"
        for name in ("etwdetect", "driver", "parity_tests", "samples"):
            shutil.copytree(CHECKOUT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CHECKOUT / "pyproject.toml", work)
        (work / "tests").mkdir()
        shutil.copy(CHECKOUT / "tests" / "conftest.py", work / "tests")
        if RECORDINGS.is_dir():
            (work.parent / "shared").symlink_to(RECORDINGS)
        for bench in BENCHES:
            red, output = noticed_by(bench, work)
            if red:
                sys.exit(f"{red} is red on the {bench} bench without any change:\n{output}")
        made = [mutation for mutation in mutations if word in mutation["what"]]
        sys.stdout.write(f"| change | {' | '.join(BENCHES)} |\n|---|{'---|' * len(BENCHES)}\n")
        for mutation in made:
            unnoticed += not check(mutation, work)
    sys.stdout.write(f"\n{len(made)} changes, {unnoticed} unnoticed\n")
    return 1 if unnoticed else 0


def check(mutation, work):
    """Make one change and print its row; return whether each bench that can notice it did."""
    path = work / mutation["file"]
    unchanged = path.read_text()
    apply(mutation, path)
    seen = {}
    for bench in BENCHES:
        seen[bench], output = noticed_by(bench, work)
        if "cannot be built" in output:
            sys.exit(f"{mutation['what']}: does not compile\n{output}")
    path.write_text(unchanged)
    excused = mutation.get("unseen_on", {}).get("benches", ())
    cells = [red or ("cannot" if bench in excused else "**nothing**") for bench, red in seen.items()]
    sys.stdout.write(f"| {mutation['what']} | {' | '.join(cells)} |\n")
    sys.stdout.flush()
    return all(seen[bench] for bench in BENCHES if bench not in excused)


if __name__ == "__main__":
    sys.exit(main())
