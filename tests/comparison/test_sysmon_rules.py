"""Which remote threads a configuration of Sysmon leaves out."""

from dataclasses import replace

import pytest

from etwdetect.comparison.sysmon_rules import parse_rules, read_rules
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.absent import OUTSIDE
from etwdetect.enrich.detection import Detection, Process, Start

FOUND = Detection(
    RemoteThread(132_337_624_952_800_000, 100, None, 200, 300),
    "etw",
    Process(100, "C:\\Windows\\System32\\svchost.exe"),
    Process(200, "C:\\Program Files\\App\\App.exe"),
    Start("C:\\Windows\\System32\\ntdll.dll", None, "DbgUiRemoteBreakin"),
)


def why(section, found=FOUND):
    around = f"<Sysmon schemaversion='4.50'><EventFiltering>{section}</EventFiltering></Sysmon>"
    return parse_rules(around.encode()).why_not(found)


def excluding(*filters, relation=""):
    section = f"<CreateRemoteThread onmatch='exclude'>{''.join(filters)}</CreateRemoteThread>"
    return why(f"<RuleGroup groupRelation='{relation}'>{section}</RuleGroup>" if relation else section)


def reasons(name, condition, value, found):
    """Return whether there is a reason where the filter is the only one that excludes, and that includes."""
    filters = field(name, condition, value)
    return tuple(
        why(f"<CreateRemoteThread onmatch='{onmatch}'>{filters}</CreateRemoteThread>", found) is not None
        for onmatch in ("exclude", "include")
    )


EXCLUDED, NOT_INCLUDED, NO_REASON = (True, False), (False, True), (False, False)


def field(name, condition, value):
    return f"<{name} condition='{condition}'>{value}</{name}>"


SVCHOST = field("SourceImage", "image", "svchost.exe")
OTHER_TARGET = field("TargetImage", "end with", "other.exe")
APP = field("TargetImage", "end with", "\\app.exe")


@pytest.mark.parametrize(
    "section", ["", "<CreateRemoteThread onmatch='exclude'/>", "<DnsQuery onmatch='include'/>"]
)
def test_without_a_filter_every_thread_is_logged(section):
    assert why(section) is None


def test_an_empty_include_logs_none():
    assert why("<CreateRemoteThread onmatch='include'/>") == "Sysmon's configuration does not include it"


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("is", "c:\\windows\\system32\\SVCHOST.exe"),
        ("is any", "a.exe; C:\\Windows\\System32\\svchost.exe"),
        ("is not", "a.exe"),
        ("contains", "system32"),
        ("contains any", "x;system32"),
        ("contains all", "Windows;svchost"),
        ("excludes", "Temp"),
        ("excludes any", "Temp;Windows"),
        ("excludes all", "Temp;Users"),
        ("begin with", "C:\\Windows"),
        ("end with", "host.exe"),
        ("not begin with", "D:"),
        ("not end with", ".dll"),
        ("image", "svchost.exe"),
        ("less than", "d"),
        ("more than", "b"),
    ],
)
def test_each_condition_excludes_what_it_fits_without_regard_to_case(condition, value):
    assert excluding(field("SourceImage", condition, value)) == (
        f"Sysmon's configuration excludes it: SourceImage {condition} {value}"
    )


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("is", "svchost.exe"),
        ("is any", "svchost.exe;a"),
        ("contains all", "Windows;Temp"),
        ("excludes", "Windows"),
        ("excludes any", "Windows;svchost"),
        ("excludes all", "Windows;Temp"),
        ("image", "host.exe"),
        ("begin with", "Windows"),
    ],
)
def test_a_condition_that_does_not_fit_excludes_nothing(condition, value):
    assert excluding(field("SourceImage", condition, value)) is None


def test_filters_on_one_field_are_alternatives_and_on_different_ones_must_all_fit():
    assert excluding(OTHER_TARGET, APP)
    assert excluding(SVCHOST, OTHER_TARGET) is None
    assert excluding(SVCHOST, APP)
    assert excluding(SVCHOST, OTHER_TARGET, relation="and") is None
    assert excluding(SVCHOST, OTHER_TARGET, relation="or")


def test_a_rule_is_a_group_in_a_section():
    assert excluding(f"<Rule groupRelation='and'>{SVCHOST}{OTHER_TARGET}</Rule>", relation="or") is None
    assert excluding(f"<Rule groupRelation='and'>{SVCHOST}{APP}</Rule>", relation="or")


def test_what_is_excluded_is_not_logged_even_if_it_is_included():
    include = f"<CreateRemoteThread onmatch='include'>{APP}</CreateRemoteThread>"
    exclude = f"<CreateRemoteThread onmatch='exclude'>{SVCHOST}</CreateRemoteThread>"
    assert why(include) is None
    assert "excludes it: SourceImage image svchost.exe" in why(include + exclude)


@pytest.mark.parametrize(
    ("name", "condition", "value"),
    [
        ("StartFunction", "contains", "LoadLibrary"),
        ("StartFunction", "is not", "LoadLibraryW"),
        ("StartModule", "is any", "a.dll;b.dll"),
        ("StartModule", "excludes all", "a.dll;b.dll"),
        ("SourceUser", "is", "NT AUTHORITY\\SYSTEM"),
        ("RuleName", "is", "-"),
        ("SourceProcessGuid", "is not", "{1}"),
        ("UtcTime", "less than", "2020"),
    ],
)
def test_a_filter_on_a_field_that_only_sysmon_knows_is_no_reason(name, condition, value):
    found = replace(FOUND, start=Start(), source=replace(FOUND.source, user="S-1-5-18"))
    assert reasons(name, condition, value, found) == NO_REASON


@pytest.mark.parametrize(
    ("path", "condition", "value", "expected"),
    [
        ("csrss.exe", "is", "C:\\Windows\\System32\\csrss.exe", NO_REASON),
        ("csrss.exe", "is", "C:\\Windows\\System32\\svchost.exe", NOT_INCLUDED),
        ("csrss.exe", "is not", "C:\\Windows\\System32\\svchost.exe", EXCLUDED),
        ("csrss.exe", "image", "csrss.exe", EXCLUDED),
        ("csrss.exe", "image", "svchost.exe", NOT_INCLUDED),
        ("csrss.exe", "end with", "\\csrss.exe", EXCLUDED),
        ("csrss.exe", "end with", "\\System32\\csrss.exe", NO_REASON),
        ("csrss.exe", "end with", ".dll", NOT_INCLUDED),
        ("csrss.exe", "contains", "csrss", EXCLUDED),
        ("csrss.exe", "contains", "System32", NO_REASON),
        ("csrss.exe", "begin with", "C:", NO_REASON),
        ("csrss.exe", "more than", "C:", NO_REASON),
        ("System", "is", "System", NO_REASON),
        ("\\Device\\HarddiskVolume3\\b.exe", "is", "D:\\b.exe", NO_REASON),
        ("\\Device\\HarddiskVolume3\\b.exe", "end with", "\\b.exe", EXCLUDED),
        ("\\Device\\HarddiskVolume3\\b.exe", "end with", "\\a.exe", NOT_INCLUDED),
        ("\\Device\\Mup\\server\\b.exe", "is", "\\\\server\\b.exe", NO_REASON),
        ("\\\\server\\b.exe", "begin with", "C:", NOT_INCLUDED),
    ],
)
def test_a_filter_on_a_path_is_a_reason_where_the_known_end_decides(path, condition, value, expected):
    found = replace(FOUND, source=Process(100, path))
    assert reasons("SourceImage", condition, value, found) == expected


def test_a_start_outside_any_image_is_known_to_have_no_module_in_sysmon():
    found = replace(FOUND, start=Start(), absent=(("StartModule", OUTSIDE), ("StartFunction", OUTSIDE)))
    assert reasons("StartModule", "is", "-", found) == EXCLUDED
    assert reasons("StartFunction", "contains", "LoadLibrary", found) == NOT_INCLUDED


def test_what_is_not_known_is_no_reason_unless_another_filter_decides():
    unknown = field("RuleName", "is", "a")
    assert excluding(unknown, SVCHOST, relation="and") is None
    assert excluding(unknown, SVCHOST, relation="or")
    include = "<CreateRemoteThread onmatch='include'>{}</CreateRemoteThread>"
    assert why(include.format(unknown + OTHER_TARGET))  # all of them, and one fails
    assert why(include.format(unknown + APP)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<Sysmon>",
        b"<Other/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><Sysmon/>",
        "<!DOCTYPE a><Sysmon/>".encode("utf-16"),
        b"<Sysmon><CreateRemoteThread><SourceImage condition='like'>a</SourceImage></CreateRemoteThread></Sysmon>",
    ],
)
def test_what_is_no_configuration_is_refused(data, tmp_path):
    path = tmp_path / "c.xml"
    path.write_bytes(data)
    with pytest.raises(EtwDetectError, match="is not a configuration of Sysmon"):
        read_rules(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EtwDetectError, match="cannot be read"):
        read_rules(tmp_path / "none.xml")
