"""Break the driver in one place at a time and demand a red test: ``python tests/driver/mutation.py``.

mutations.toml has the changes: each lock is removed, steps of loading and unloading are left out or swapped,
checks are taken away. They are made in a copy of driver/, and the tests of this directory run on it,
sanitizers included. Prints a table in Markdown; ends with status 1 if a change went unnoticed. About eight
seconds a change.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TESTS = Path(__file__).parent
DRIVER = TESTS.parents[1] / "driver"
# Of the driver's own behaviour; the quickest first, since the first red test ends the run.
FILES = ["test_load.py", "test_device.py", "test_rule.py", "test_model.py", "test_programs.py"]

# What tells most about a red run, the most telling first.
SIGNS = [
    re.compile(r"\*\*\* STOP: (\w+)"),
    re.compile(r"(ThreadSanitizer: [\w -]+?)(?= \()"),
    re.compile(r"(AddressSanitizer: [\w-]+|runtime error: [^\n]{1,60})"),
    re.compile(r"(not true: [^\n]+)"),
    re.compile(r"^(?:FAILED|ERROR) \S*?::([\w:]+)", re.MULTILINE),
    re.compile(r"(Fatal Python error: [\w ]+)"),
]


def apply(mutation, path):
    text = path.read_text()
    for change in mutation["change"]:
        if (times := text.count(change["old"])) != 1:
            sys.exit(f"{mutation['what']}: {times} times in {path.name}, not once:\n{change['old']}")
        text = text.replace(change["old"], change["new"])
    path.write_text(text)


def run_tests(work):
    """Return whether the tests pass, and what they print."""
    places = {"KDETECTOR_SOURCES": str(work / "driver"), "KDETECTOR_BUILD": str(work / "build")}
    # A test shall notice, not a warning: what a change leaves unused may stay.
    no_warnings = {"MAKEFLAGS": "WARNINGS=-w"}
    # -s: a kernel that stops takes pytest with it, and what pytest has captured by then is lost.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-s", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(TESTS / file for file in FILES)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | places | no_warnings,
    )
    return done.returncode == 0, done.stdout + done.stderr


def sign(output):
    """Say in a few words what was noticed."""
    found = (pattern.search(output) for pattern in SIGNS)
    return next((match[1] for match in found if match), "a crash")


def main():
    mutations = tomllib.loads((TESTS / "mutations.toml").read_text())["mutation"]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        shutil.copytree(DRIVER, work / "driver")
        passed, output = run_tests(work)
        if not passed:
            sys.exit(f"the tests fail on the unchanged driver:\n{output}")
        sys.stdout.write("| change | noticed by |\n|---|---|\n")
        for mutation in mutations:
            path = work / "driver" / "KDetector" / mutation["file"]
            unchanged = path.read_text()
            apply(mutation, path)
            passed, output = run_tests(work)
            path.write_text(unchanged)
            if "make: ***" in output:
                sys.exit(f"{mutation['what']}: does not compile\n{output}")
            unnoticed += passed
            sys.stdout.write(f"| {mutation['what']} | {'**nothing**' if passed else sign(output)} |\n")
            sys.stdout.flush()
    sys.stdout.write(f"\n{len(mutations)} changes, {unnoticed} unnoticed\n")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
