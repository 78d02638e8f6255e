"""The scripts that reports carry: the vendored one is what it claims to be, and ours can be parsed."""

import hashlib
import shutil
import subprocess

import pytest

from etwdetect.results.report import page

HERE = page._HERE
OURS = sorted((HERE / "page").glob("*.js"))


def test_the_charts_are_the_ones_whose_checksum_is_recorded():
    checksum, name = (HERE / "vendor" / "SHA256SUMS").read_text("ascii").split()
    assert hashlib.sha256((HERE / "vendor" / name).read_bytes()).hexdigest() == checksum


def test_licences_go_with_the_charts():
    charts = (HERE / "vendor" / "echarts.min.js").read_text("ascii")
    for holder in ("The Apache Software Foundation", "Baidu", "Mike Bostock", "Microsoft"):
        assert holder in charts[:5_000]
    assert "Apache License" in (HERE / "vendor" / "LICENSE-echarts.txt").read_text("utf-8")


@pytest.mark.parametrize("name", page._SCRIPTS)
def test_no_script_makes_code_or_elements_of_text_or_could_end_its_element(name):
    script = (HERE / name).read_text("utf-8")
    for words in ("</script", "<!--", "new Function", "document.write"):
        assert words not in script
    if "vendor" not in name:
        for words in ("eval", "innerHTML", "outerHTML", "insertAdjacent", "fetch(", "import("):
            assert words not in script


def test_every_script_of_ours_is_in_the_page():
    assert {path.name for path in OURS} == {
        name.rpartition("/")[2] for name in page._SCRIPTS if "vendor" not in name
    }


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_scripts_can_be_parsed(path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to parse scripts with")
    done = subprocess.run([node, "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
