"""etwdetect scan --symbols: functions in call stacks by the PDBs of images, and what is said without one."""

import json

import pytest

from etwdetect.core.events import CallStack, ImageLoad, ProcessRundown, ThreadStart
from etwdetect.enrich.exports import read_build, read_debug_id
from etwdetect.enrich.symbols import read_functions
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart
from tests.enrich.pdb_by_clang import link

T = 132_337_152_000_000_000
BASE = 0x7FF9_0000_0000


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A DLL and its PDB."""
    return link(tmp_path_factory.mktemp("pdb"))


@pytest.fixture
def recording(pair, tmp_path):
    """Events in which a function that the DLL does not export makes a remote thread."""
    build = read_build(pair[0])
    (hidden,) = (
        offset for offset, name in read_functions(pair[1], read_debug_id(pair[0])).items() if name == "hidden"
    )
    path = tmp_path / "events.jsonl"
    with path.open("w", encoding="ascii") as file:
        writer = JsonLinesWriter(file)
        writer.begin(Recording("PC7", "a"), RecordingStart(T, T))
        for event in (
            ProcessRundown(T + 1, 10, image="C:\\evil.exe"),
            ImageLoad(T + 2, 10, BASE, build.size, build.checksum, build.stamp, "C:\\a.dll"),
            CallStack(T + 9, 10, 11, user_frames=(BASE + hidden + 4,)),
            ThreadStart(T + 9, 10, 11, 20, 21),
        ):
            writer.write(event)
    return path


def scanned(etwdetect, recording, folder, symbols):
    done = etwdetect("scan", recording, "--images", folder, "--symbols", symbols, "--format", "json")
    return json.loads(done.out)["CallSymbols"], done


def test_a_frame_has_the_function_of_the_pdb(etwdetect, pair, recording):
    named, done = scanned(etwdetect, recording, pair[0].parent, pair[1].parent)
    assert named == "a.dll!hidden+0x4"
    assert "--symbols" not in done.err


def test_a_pdb_that_is_not_there_is_told(etwdetect, pair, recording, tmp_path):
    named, done = scanned(etwdetect, recording, pair[0].parent, tmp_path)
    assert named.startswith("a.dll!exported+")
    assert "--symbols: none of the PDBs that the images name was found" in done.err


def test_a_pdb_that_can_not_be_used_is_named_with_the_reason(etwdetect, pair, recording, tmp_path):
    (tmp_path / "a.pdb").write_bytes(pair[1].read_bytes()[:5000])
    named, done = scanned(etwdetect, recording, pair[0].parent, tmp_path)
    assert named.startswith("a.dll!exported+")
    assert f"--symbols: {tmp_path / 'a.pdb'}: the PDB cannot be used: it is damaged: file truncated" in done.err
