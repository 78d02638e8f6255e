"""The workflow for Windows runners, as far as it can be read here: it was never run."""

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra for Sigma")

ROOT = Path(__file__).parent.parent
FILE = ROOT / ".github" / "workflows" / "windows.yml"
JOBS = yaml.safe_load(FILE.read_text("utf-8"))["jobs"]
IMAGES = {"windows-2022", "windows-2025", "windows-11-arm", "ubuntu-24.04"}


def commands():
    return [(name, step["run"]) for name, job in JOBS.items() for step in job["steps"] if "run" in step]


def runners(job):
    named = job["runs-on"]
    return job["strategy"]["matrix"]["os"] if named == "${{ matrix.os }}" else [named]


def test_no_job_waits_for_another_but_for_what_it_made():
    assert {name: job["needs"] for name, job in JOBS.items() if "needs" in job} == {"start-zip": "zip"}


@pytest.mark.parametrize("name", JOBS)
def test_every_job_runs_on_an_image_that_there_is_and_ends(name):
    assert set(runners(JOBS[name])) <= IMAGES
    assert JOBS[name]["timeout-minutes"] <= 45


def test_live_runs_on_three_images_and_uploads_whatever_failed():
    live = JOBS["live"]
    assert runners(live) == ["windows-2022", "windows-2025", "windows-11-arm"]
    assert live["strategy"]["fail-fast"] is False
    upload = live["steps"][-1]
    assert upload["uses"].startswith("actions/upload-artifact@")
    assert upload["with"]["path"].split() == ["doctor.zip", "recording.etl"]
    said = [step for step in live["steps"] if "doctor" not in step.get("run", "") and "run" in step][1:]
    assert all(step["if"] == "always()" for step in [*said, upload])


def test_artefacts_of_a_matrix_have_names_of_their_own():
    for job in JOBS.values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/upload-artifact@") and "strategy" in job:
                assert "${{ matrix." in step["with"]["name"]


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_path_that_a_command_names_is_there(name, command):  # noqa: ARG001
    for path in re.findall(r"(?<![\w$}{.\\/-])(?:tests|samples|driver)[\\/][\w\\/.-]+", command):
        assert (ROOT / path.replace("\\", "/")).exists(), path
    for module in re.findall(r"-m ((?:tests|tools)\.[\w.]+)", command):
        found = ROOT / module.replace(".", "/")
        assert found.is_dir() or found.with_suffix(".py").is_file(), module
