"""Which remote threads a configuration of Sysmon leaves out."""

import pytest

from etwdetect.comparison.sysmon_rules import parse_rules, read_rules
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start

FOUND = Detection(
    RemoteThread(132_337_624_952_800_000, 100, None, 200, 300),
    "etw",
    Process(100, "C:\\Windows\\System32\\svchost.exe"),
    Process(200, "C:\\Program Files\\App\\App.exe"),
    Start("C:\\Windows\\System32\\ntdll.dll", None, "DbgUiRemoteBreakin"),
)


def why(section, around="<Sysmon schemaversion='4.50'><EventFiltering>{}</EventFiltering></Sysmon>"):
    return parse_rules(around.format(section).encode()).why_not(FOUND)


def excluding(*filters, relation=""):
    section = f"<CreateRemoteThread onmatch='exclude'>{''.join(filters)}</CreateRemoteThread>"
    return why(f"<RuleGroup groupRelation='{relation}'>{section}</RuleGroup>" if relation else section)


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
