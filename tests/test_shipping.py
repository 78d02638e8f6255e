"""What CI and releases are made of: actions by commit, packages by content, builds that can be made again."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LOCK = ROOT / ".ci" / "requirements.txt"

in_a_checkout = pytest.mark.skipif(not LOCK.is_file(), reason="the source distribution has no CI")


@in_a_checkout
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_commit_with_their_version_beside(workflow):
    used = re.findall(r"uses: (.*)", workflow.read_text("utf-8"))
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


@in_a_checkout
@pytest.mark.parametrize("name", ["linux.yml", "release.yml"])
def test_workflows_install_by_content_alone(name):
    text = (ROOT / ".github" / "workflows" / name).read_text("utf-8")
    installs = re.findall(r"pip install (.*)", text)
    assert installs
    assert all(each.startswith(("--require-hashes ", "--no-deps ")) for each in installs)
    assert "This workflow was never" in text.replace("\n# ", " ")


@in_a_checkout
def test_each_package_in_the_lock_has_its_content():
    text = LOCK.read_text("utf-8")
    locked = re.findall(r"^([\w.-]+)==.*\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, re.MULTILINE)
    assert len(locked) == len([line for line in text.splitlines() if line[:1].isalnum()])
    assert {"click", "hatchling", "mypy", "pytest", "ruff"} <= set(locked)


def built(source, folder):
    """Build in *source*; return the checksum of each distribution by its name."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_the_same_sources_give_the_same_wheel_and_source_distribution(tmp_path):
    """In another folder, written at another time, with other rights: nothing of that may come in."""
    pytest.importorskip("hatchling", reason="hatchling, the build backend, is not installed")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is not a Git checkout, whose files would be copied")
    for name in ("one", "another"):
        for file in filter(None, tracked.stdout.split("\0")):
            target = tmp_path / name / file
            if (ROOT / file).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, target)
                if name == "another":
                    os.utime(target, (1_000_000_000, 1_000_000_000))
                    target.chmod(0o600)
    one, another = (built(tmp_path / name, tmp_path / f"{name}-dist") for name in ("one", "another"))
    assert len(one) == 2
    assert one == another
