"""Users, paths and ProcessGuids as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich.accounts import account
from etwdetect.enrich.fields import on_its_volume
from etwdetect.enrich.paths import Paths
from etwdetect.enrich.process import process_guid


def sid(authority, *numbers):
    return (
        bytes((1, len(numbers)))
        + authority.to_bytes(6, "big")
        + b"".join(n.to_bytes(4, "little") for n in numbers)
    )


@pytest.mark.parametrize(
    ("binary", "text"),
    [
        (sid(5, 18), "NT AUTHORITY\\SYSTEM"),
        (sid(5, 19), "NT AUTHORITY\\LOCAL SERVICE"),
        (sid(5, 32, 544), "BUILTIN\\Administrators"),
        (sid(5, 90, 0, 3), "Window Manager\\DWM-3"),
        (sid(5, 96, 0, 1), "Font Driver Host\\UMFD-1"),
        (sid(5, 21, 1, 2, 3, 500), "S-1-5-21-1-2-3-500"),
        (sid(15, 2, 1), "S-1-15-2-1"),
        (sid(1 << 40), f"S-1-{1 << 40}"),
        (sid(5, 18)[:-1], None),
        (b"\2" + sid(5, 18)[1:], None),
        (b"", None),
    ],
)
def test_an_account_is_a_well_known_name_or_the_sid(binary, text):
    assert account(binary) == text


@given(st.binary(max_size=80))
def test_any_bytes_are_an_account_or_none(binary):
    text = account(binary)
    assert text is None or text.isprintable()


@pytest.fixture
def paths():
    found = Paths()
    found.learn("\\Device\\HarddiskVolume2\\", "C:\\")
    found.learn("\\SystemRoot", "C:\\Windows")
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("\\Device\\HarddiskVolume2\\a\\b.exe", "C:\\a\\b.exe"),
        ("\\DEVICE\\harddiskvolume2\\b.exe", "C:\\b.exe"),
        ("\\SystemRoot\\System32\\x.dll", "C:\\Windows\\System32\\x.dll"),
        ("\\Device\\HarddiskVolume22\\b.exe", "\\Device\\HarddiskVolume22\\b.exe"),
        ("\\Windows\\b.exe", "\\Windows\\b.exe"),
        ("b.exe", "b.exe"),
        ("", ""),
        ("\\", "\\"),
    ],
)
def test_a_path_gets_its_drive_letter_where_that_is_known(paths, path, expected):
    assert paths.dos(path) == expected


@pytest.mark.parametrize(
    ("device", "path"),
    [("\\??\\", ""), ("", "C:\\"), ("\\", "C:\\"), ("\\DriverStores\\X\\", "\\\\?\\GLOBALROOT\\X")],
)
def test_what_stands_for_no_drive_is_left_out(device, path):
    found = Paths()
    found.learn(device, path)
    assert found.dos("\\??\\DriverStores\\X\\b.exe") == "\\??\\DriverStores\\X\\b.exe"
    assert found.dos("\\a") == "\\a"


def test_no_more_drives_are_learnt_than_there_can_be():
    found = Paths()
    for number in range(10_000):
        found.learn(f"\\Device\\V{number}", "C:")
    assert found.dos("\\Device\\V9999\\a") == "\\Device\\V9999\\a"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C:\\Windows\\a.dll", "\\Windows\\a.dll"),
        ("\\??\\C:\\Windows\\a.dll", "\\Windows\\a.dll"),
        ("\\device\\harddiskvolume12\\Windows\\a.dll", "\\Windows\\a.dll"),
        ("\\Device\\Mup\\server\\Windows\\a.dll", "\\Device\\Mup\\server\\Windows\\a.dll"),
        ("\\Device\\HarddiskVolumeX\\Windows\\a.dll", "\\Device\\HarddiskVolumeX\\Windows\\a.dll"),
        ("\\SYSTEMROOT\\a.dll", "\\Windows\\a.dll"),
        ("a.dll", "a.dll"),
        (None, None),
    ],
)
def test_rules_see_paths_without_their_volume(path, expected):
    assert on_its_volume(path) == expected


def test_a_guid_has_the_start_in_unix_seconds_in_its_middle():
    """Sysmon writes the lower half first: 0x5F8AE308 is 2020-10-17 12:26:48 UTC."""
    started = 116_444_736_000_000_000 + 0x5F8AE308 * 10_000_000 + 7
    first, low, high, *rest = process_guid("HOST1", started, 7608).split("-")
    assert (low, high) == ("e308", "5f8a")
    assert len(first) == 8
    assert "".join(rest) == f"{started & 0xFFFFFFFF:08x}{7608:08x}"


@given(st.text(), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_guid_has_the_form_of_one(machine, started, pid):
    assert [len(group) for group in process_guid(machine, started, pid).split("-")] == [8, 4, 4, 4, 12]
