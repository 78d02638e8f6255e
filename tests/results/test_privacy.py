import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ProcessStart, ThreadStart
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.results.privacy import Privacy
from etwdetect.results.record import from_json, to_json
from tests.results.conftest import FULL

NOTHING = Privacy(command_lines=False, users=False)
PATH = r"\Device\HarddiskVolume3\Users\anna.k\AppData\a.exe"
HIDDEN = r"\Device\HarddiskVolume3\Users\xxxxxx\AppData\a.exe"
ACCOUNT = struct.pack("<BB6s5I", 1, 5, (5).to_bytes(6, "big"), 21, 111, 222, 333, 1001)
SYSTEM = struct.pack("<BB6sI", 1, 1, (5).to_bytes(6, "big"), 18)
DETECTION = Detection(
    RemoteThread(1, 2, 3, 4, 5),
    "etw",
    Process(2, PATH, f'"{PATH}" --secret', 1, PATH, f"{PATH} parent", r"PC\anna.k"),
    Process(4, r"C:\Windows\b.exe", "b.exe", user="S-1-5-18"),
    Start(r"C:\Users\anna.k\evil.dll"),
)


def test_everything_is_written_as_it_is_unless_asked():
    assert tuple(Privacy().add(DETECTION)) == (DETECTION,)
    assert Privacy().trace(ACCOUNT) == ACCOUNT
    assert Privacy().hides_nothing


def test_without_users_no_name_sid_or_profile_folder_is_left():
    (found,) = Privacy(users=False).add(DETECTION)
    assert "anna" not in repr(dataclasses.asdict(found))
    assert found.source.image == HIDDEN
    assert found.source.command_line == f'"{HIDDEN}" --secret'
    assert (found.source.user, found.target.user) == (None, None)
    assert found.start.module == r"C:\Users\xxxxxx\evil.dll"
    assert found.thread == DETECTION.thread


def test_without_command_lines_the_rest_stays():
    (found,) = Privacy(command_lines=False).add(DETECTION)
    assert "secret" not in repr(dataclasses.asdict(found))
    assert found.source.parent_command_line is None
    assert (found.source.user, found.source.image) == (r"PC\anna.k", PATH)


def test_events_lose_the_same():
    event = ProcessStart(1, 2, 3, 4, sid=ACCOUNT, image=PATH, command_line=f"{PATH} x")
    assert NOTHING.event(event) == event._replace(sid=None, image=HIDDEN, command_line=None)
    assert Privacy(users=False).event(event).command_line == f"{HIDDEN} x"
    assert NOTHING.event(ImageLoad(1, 2, 3, 4, image=PATH)).image == HIDDEN
    assert NOTHING.event(ThreadStart(1, 2, 3, 4, 5)) == ThreadStart(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PATH.encode("utf-16-le"), HIDDEN.encode("utf-16-le")),
        (b"\1" + PATH.encode("utf-16-le"), b"\1" + HIDDEN.encode("utf-16-le")),
        (PATH.encode(), HIDDEN.encode()),
        ("C:\\USERS\\Jürgen Ö\0".encode("utf-16-le"), "C:\\USERS\\xxxxxxxx\0".encode("utf-16-le")),
        ('"C:\\Users\\anna" --x'.encode("utf-16-le"), '"C:\\Users\\xxxx" --x'.encode("utf-16-le")),
        (b"--" + ACCOUNT + SYSTEM, b"--" + ACCOUNT[:12] + bytes(16) + SYSTEM),
        ("\\Users\\".encode("utf-16-le"), "\\Users\\".encode("utf-16-le")),
    ],
)
def test_the_bytes_of_a_trace_are_hidden_in_place(before, after):
    assert NOTHING.trace(before) == after


@given(st.binary(max_size=400))
def test_no_bytes_move(data):
    assert len(NOTHING.trace(data)) == len(data)


@given(st.text("abcÄ😀._- ", min_size=1, max_size=20))
def test_no_user_s_folder_survives(name):
    path = f"C:\\Users\\{name}\\x.exe"
    assert NOTHING.text(path) == f"C:\\Users\\{'x' * len(name)}\\x.exe"
    wide = NOTHING.trace(path.encode("utf-16-le")).decode("utf-16-le")
    assert set(wide.split("\\")[2]) == {"x"}


def test_call_traces_have_no_users_and_fields_that_are_not_known_are_left_out():
    line = to_json(dataclasses.replace(FULL, prior_access=(("CallTrace", "C:\\Users\\me\\a.dll+1"),)))
    read = from_json(line.replace("{", '{"Unknown": "me", ', 1))
    for privacy in (Privacy(users=False), Privacy(command_lines=False)):
        (kept,) = privacy.add(read)
        assert "Unknown" not in to_json(kept)
        assert ("me" in dict(kept.prior_access)["CallTrace"]) == privacy.users
