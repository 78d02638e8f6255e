import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.mark.parametrize("name", ["windbg-attach.etl", "quiet.etl"])
def test_samples_are_made_again_byte_for_byte(tmp_path, name):
    subprocess.run([sys.executable, SAMPLES / "make.py", tmp_path], check=True)
    assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()
