"""Which paths get a drive letter: those of volumes that are told, given, or hold Windows."""

import pytest

from etwdetect.enrich.paths import Paths, drive

TOOL = "\\Device\\HarddiskVolume3\\Users\\u\\tool.exe"
NTDLL = "\\Device\\HarddiskVolume3\\Windows\\System32\\ntdll.dll"
ASSUMED = "C:=\\Device\\HarddiskVolume3"


def seen(*noticed, drives=(), told=()):
    paths = Paths(drives)
    for device, dos in told:
        paths.learn(device, dos)
    for path in noticed:
        paths.notice(path)
    return paths


def test_the_volume_that_holds_windows_is_assumed_to_be_c_and_that_is_told():
    paths = seen(NTDLL.upper().replace("\\DEVICE\\HARDDISKVOLUME", "\\Device\\HarddiskVolume"), NTDLL)
    assert paths.dos(TOOL) == "C:\\Users\\u\\tool.exe"
    assert paths.assumed_for([None, TOOL]) == ASSUMED
    assert paths.assumed_for([None, "injector.exe", "\\Device\\HarddiskVolume30\\a.exe"]) is None


def test_without_a_path_below_windows_nothing_is_assumed():
    for other in (TOOL, "\\Device\\HarddiskVolume3\\Windows", "\\Device\\HarddiskVolume3\\WindowsApps\\a.exe", ""):
        paths = seen(other, None)
        assert (paths.dos(TOOL), paths.assumed_for([TOOL])) == (TOOL, None)


def test_of_two_volumes_with_windows_neither_is_assumed():
    paths = seen(NTDLL, "\\Device\\HarddiskVolume7\\Windows\\System32\\evil.exe", NTDLL)
    assert (paths.dos(TOOL), paths.assumed_for([TOOL, NTDLL])) == (TOOL, None)


@pytest.mark.parametrize("drives", [(), (("\\Device\\HarddiskVolume3", "E:"),)])
def test_what_is_told_or_given_is_not_assumed(drives):
    paths = seen(NTDLL, drives=drives, told=[("\\Device\\HarddiskVolume3\\", "D:\\")])
    letter = "E" if drives else "D"
    assert (paths.dos(TOOL), paths.assumed_for([TOOL])) == (f"{letter}:\\Users\\u\\tool.exe", None)


def test_a_drive_that_another_volume_has_is_not_assumed():
    told = [("\\Device\\HarddiskVolume2\\", "c:\\")]
    paths = seen(NTDLL, told=told)
    assert (paths.dos(TOOL), paths.assumed_for([TOOL])) == (TOOL, None)
    given = seen(NTDLL, drives=told)
    assert (given.dos(TOOL), given.assumed_for([TOOL])) == (TOOL, None)


def test_the_drive_of_the_system_root_is_the_one_assumed():
    paths = seen(NTDLL, told=[("\\SystemRoot\\", "D:\\Windows\\")])
    assert (paths.dos(TOOL), paths.assumed_for([TOOL])) == ("D:\\Users\\u\\tool.exe", "D:" + ASSUMED[2:])
    assert paths.dos("\\SystemRoot\\system32\\ntoskrnl.exe") == "D:\\Windows\\system32\\ntoskrnl.exe"


@pytest.mark.parametrize(
    "path",
    [
        "\\Device\\Mup\\server\\share\\Windows\\a.exe",
        "\\Device\\LanmanRedirector\\server\\Windows\\a.exe",
        "\\Device\\VhdHardDisk{0f5fb4d8-0c1a-4f2b-9f6a-000000000001}\\Windows\\System32\\a.exe",
        "\\Device\\HarddiskVolumeShadowCopy3\\Windows\\a.exe",
        "\\Device\\HarddiskVolume",
        "\\Device\\CdRom0\\Windows\\a.exe",
        "\\Windows\\SysWOW64\\a.dll",
        "\\\\server\\share\\Windows\\a.exe",
        "C:\\Windows\\a.exe",
        "a.exe",
        "\\xef.exe",
    ],
)
def test_paths_that_lead_elsewhere_stay_what_they_are_and_show_no_volume(path):
    paths = seen(path)
    assert paths.dos(TOOL) == TOOL
    paths.notice(NTDLL)
    assert (paths.dos(path), paths.assumed_for([path])) == (path, None)


def test_volumes_and_their_windows_are_bounded():
    paths = Paths()
    for number in range(1_000):
        paths.learn(f"\\Device\\HarddiskVolume{number}", "D:")
        paths.notice(f"\\Device\\HarddiskVolume{number}\\Windows\\a.exe")
    assert (len(paths._drives), len(paths._of_windows)) == (256, 2)


@pytest.mark.parametrize("text", ["C:=\\Device\\HarddiskVolume3", "C:\\=\\Device\\HarddiskVolume3\\"])
def test_a_drive_is_given_as_itself_and_its_volume(text):
    assert drive(text) == ("\\Device\\HarddiskVolume3", "C:")


@pytest.mark.parametrize(
    "text", ["", "C:", "C:=", "C:=\\", "C=\\Device\\x", "CD:=\\Device\\x", "C:=Device\\x", "=C:"]
)
def test_what_is_no_drive_and_volume_is_refused(text):
    with pytest.raises(ValueError, match="is not a drive and its volume"):
        drive(text)
