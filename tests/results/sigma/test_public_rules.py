"""The 15 public rules, where they lie beside the repository: each fires on a record made to match it.

The records are written by hand from the rules. The second of each pair lacks one thing that the rule asks for.
"""

from pathlib import Path

import pytest

from etwdetect.results.fields import Availability, RecordSource
from etwdetect.results.sigma import load_rules
from etwdetect.results.sigma.fields import field_called, lacking
from etwdetect.results.sigma.risks import asked_fields, risks
from tests.results.sigma.conftest import titles

ROOT = Path(__file__).parents[3]
SYSTEM32 = r"C:\Windows\System32"


def between(source, target, **more):
    return {"SourceImage": source, "TargetImage": target, **more}


NOTEPAD = rf"{SYSTEM32}\notepad.exe"
POWERSHELL = rf"{SYSTEM32}\WindowsPowerShell\v1.0\powershell.exe"
EVIL = r"C:\Users\Public\evil.exe"
LSASS = rf"{SYSTEM32}\lsass.exe"

# By file, without what they all begin with: a record that fits, and one that does not.
RECORDS = {
    "hktl_cactustorch": (
        between(r"C:\Office\WINWORD.EXE", r"C:\Windows\SysWOW64\rundll32.exe"),
        between(r"C:\Office\WINWORD.EXE", r"C:\Windows\SysWOW64\rundll32.exe", StartModule=r"C:\x\y.dll"),
    ),
    "hktl_cobaltstrike": ({"StartAddress": "0x00000000004A0C7C"}, {"StartAddress": "0x00000000004A0C7D"}),
    "keepass": (between(EVIL, r"C:\Program Files\KeePass\keepass.exe"), between(EVIL, r"C:\notKeePass.exe")),
    "loadlibrary": (
        {"StartModule": rf"{SYSTEM32}\KERNEL32.DLL", "StartFunction": "LoadLibraryA"},
        {"StartModule": rf"{SYSTEM32}\KERNEL32.DLL", "StartFunction": "LoadLibraryW"},
    ),
    "malware_bumblebee": (
        between(r"C:\x\wab.exe", rf"{SYSTEM32}\rundll32.exe"),
        between(r"C:\x\wab.exe", NOTEPAD),
    ),
    "mstsc_susp_location": (
        between(EVIL, rf"{SYSTEM32}\mstsc.exe"),
        between(NOTEPAD, rf"{SYSTEM32}\mstsc.exe"),
    ),
    "powershell_generic": (
        between(POWERSHELL, NOTEPAD),
        between(POWERSHELL, NOTEPAD, SourceParentImage=rf"{SYSTEM32}\CompatTelRunner.exe"),
    ),
    "powershell_lsass": (between(POWERSHELL, LSASS), between(POWERSHELL, NOTEPAD)),
    "powershell_susp_targets": (
        between(r"C:\x\pwsh.exe", rf"{SYSTEM32}\regsvr32.exe"),
        between(r"C:\x\pwsh.exe", NOTEPAD),
    ),
    "susp_password_dumper_lsass": (
        between(EVIL, LSASS, StartModule=None),
        between(EVIL, LSASS, StartModule=rf"{SYSTEM32}\ntdll.dll"),
    ),
    "susp_relevant_source_image": (
        between(rf"{SYSTEM32}\defrag.exe", NOTEPAD),
        between(rf"{SYSTEM32}\Defrag.exe", rf"{SYSTEM32}\conhost.exe"),
    ),
    "susp_target_shell_application": (
        between(EVIL, rf"{SYSTEM32}\cmd.exe"),
        between(rf"{SYSTEM32}\csrss.exe", rf"{SYSTEM32}\cmd.exe"),
    ),
    "susp_uncommon_source_image": (
        between(rf"{SYSTEM32}\winlogon.exe", EVIL, TargetParentProcessId=44),
        between(rf"{SYSTEM32}\winlogon.exe", EVIL, TargetParentProcessId=4),
    ),
    "susp_uncommon_target_image": (
        between(r"C:\Program Files\VMware\VMware Tools\vmtoolsd.exe", NOTEPAD),
        between(r"C:\Program Files\VMware\VMware Tools\vmtoolsd.exe", NOTEPAD, StartFunction="GetCommandLineW"),
    ),
    "ttdinjec": (between(r"C:\x\ttdinject.exe", NOTEPAD), between(r"C:\x\attdinject.exe", NOTEPAD)),
}


@pytest.fixture(scope="module")
def public():
    """The rules, all loaded."""
    folder = ROOT.parent / "shared" / "sigma"
    if not folder.is_dir():
        pytest.skip("the public rules are not beside the repository, in shared/sigma")
    return load_rules([folder])


def test_all_of_them_load(public):
    assert {rule.file.stem.removeprefix("create_remote_thread_win_") for rule in public.rules} == set(RECORDS)
    assert (public.broken, public.others) == ([], 0)


@pytest.mark.parametrize("name", RECORDS)
def test_each_fires_on_a_record_made_to_match_it(public, name):
    (title,) = (rule.title for rule in public.rules if rule.file.stem.endswith(f"win_{name}"))
    fired, not_fired = titles(public, RECORDS[name])
    assert title in fired
    assert title not in not_fired


@pytest.mark.parametrize("missing", ["", "-", None])
def test_a_start_outside_of_any_module_fires_whatever_form_it_has(public, missing):
    (fired,) = titles(public, [between(EVIL, LSASS, StartModule=missing)])
    assert fired == ("Password Dumper Remote Thread in LSASS",)


def fields_of(rule):
    return sorted({field_called(name).name for tree in rule.trees for name in asked_fields(tree)})


def availability(names, source):
    """Whether *source* has the fields *names*, as docs/reference/sigma-fields.md says it."""
    each = {
        has: [name for name in names if field_called(name).availability(source) is has] for has in Availability
    }
    parts = [f"{has.value}: {', '.join(each[has])}" for has in (Availability.PARTLY, Availability.NO) if each[has]]
    return "; ".join(parts) or Availability.YES.value


def test_the_documentation_says_for_each_whether_its_fields_can_be_had(public):
    rows = []
    for rule in public.rules:
        names = fields_of(rule)
        cells = [rule.title, ", ".join(names), *(availability(names, source) for source in RecordSource)]
        rows.append(f"| {' | '.join(cells)} |")
    assert "\n".join(rows) in (ROOT / "docs" / "reference" / "sigma-fields.md").read_text("utf-8")


def test_those_that_the_driver_cannot_tell_enough_for_are_named(public):
    named = {risk.rule.file.stem.removeprefix("create_remote_thread_win_"): risk for risk in driver_risks(public)}
    assert {name for name, risk in named.items() if risk.never} == {"hktl_cobaltstrike", "loadlibrary"}
    assert {name for name, risk in named.items() if not risk.never} == {
        "hktl_cactustorch",
        "susp_password_dumper_lsass",
        "susp_uncommon_target_image",
    }


def driver_risks(public):
    return risks(public.rules, lacking([RecordSource.DRIVER]))
