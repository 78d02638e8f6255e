"""A rule that asks for what the records at hand never have is named, with what becomes of it."""

import pytest

from etwdetect.results.fields import RecordSource
from etwdetect.results.sigma.fields import lacking
from etwdetect.results.sigma.risks import Lack, Partial, partial_values, path_risks, risks
from tests.results.sigma.conftest import titles

LACKING = lacking([RecordSource.DRIVER])


@pytest.fixture
def risk(load):
    """Return what is said of a rule of *detection* where LACKING can't be had, or None."""

    def ask(detection):
        found = list(risks(load(detection).rules, LACKING))
        assert len(found) <= 1
        return (found[0].fields, found[0].never) if found else None

    return ask


def combined(condition):
    selections = {"had": {"SourceProcessId": 1}, "lacked": {"StartModule": "a"}, "null": {"StartModule": None}}
    return {**selections, "condition": condition}


def short(detection):
    return str(detection.get("condition", detection))


@pytest.mark.parametrize("asked", [{"SourceProcessId": 1}, {"SourceImage|endswith": "a"}, {"User": "a"}], ids=str)
def test_a_rule_whose_fields_can_be_had_is_no_risk(risk, asked):
    assert risk(asked) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"StartModule": "a"},
        {"startmodule|contains|all": ["a", "b"]},
        {"StartModule|exists": True},
        {"StartModule|re": ".*"},
        {"SourceProcessId": 1, "StartModule": "a"},
        {"SourceProcessId|fieldref": "StartModule"},
        {"StartModule|base64offset": "abc"},
        combined("had and lacked"),
        combined("lacked and not null"),
        combined("not null"),
        combined("all of them"),
        combined(["had and lacked", "lacked"]),
    ],
    ids=short,
)
def test_what_needs_a_lacking_field_never_fires(risk, load, asked):
    fields, never = risk(asked)
    assert [field.casefold() for field in fields] == ["startmodule"]
    assert never
    assert titles(load(asked), [{"SourceProcessId": 1}, {"SourceProcessId": 2}]) == [(), ()]


@pytest.mark.parametrize(
    "asked",
    [
        {"StartModule": ""},
        {"StartModule": [None, "a"]},
        {"StartModule|exists": False},
        combined("had and not lacked"),
        combined("had or lacked"),
        combined("had and null"),
        combined("1 of them"),
        combined("not (had and lacked)"),
        combined(["lacked", "had"]),
    ],
    ids=short,
)
def test_what_can_fire_without_it_is_said_to_be_judged_without_it(risk, load, asked):
    assert risk(asked) == (("StartModule",), False)
    assert titles(load(asked), [{"SourceProcessId": 1}]) == [("A rule",)]


def test_a_field_that_no_record_has_is_a_risk_anywhere(load):
    (found,) = risks(load({"ParentOfTheUser": "x"}).rules, frozenset())
    assert (found.fields, found.never) == (("ParentOfTheUser",), True)


def test_keywords_are_looked_for_in_what_there_is(risk):
    assert risk({"keywords": ["x"], "condition": "keywords"}) is None


def test_a_risk_says_which_rule_of_which_file_and_why(load):
    rules = load({"StartModule": "a", "StartFunction": "b"}).rules
    (found,) = risks(rules, LACKING)
    file = load.folder / "rule.yml"
    assert str(found) == f"the Sigma rule 'A rule' ({file}) can't fire here for lack of StartModule, StartFunction"
    (found,) = risks(load({"StartModule": ""}).rules, LACKING)
    assert str(found).endswith("rule.yml) is judged here without StartModule")


# -- programs of which only the name is known


def with_names(condition):
    selections = {"path": {"SourceImage|endswith": "\\x\\a.exe"}, "name": {"SourceImage|contains": "a.exe"}}
    return {**selections, "other": {"TargetImage": "C:\\b.exe"}, "condition": condition}


def of_partial(load, asked, lack, **values):
    partial = {field: Partial(value, lack) for field, value in values.items()}
    return [(each.fields, each.never) for each in path_risks(load(asked).rules, partial)]


@pytest.mark.parametrize(
    ("asked", "never"),
    [
        ({"SourceImage|endswith": "\\x\\a.exe"}, True),
        ({"SourceImage|endswith": ["\\x\\a.exe", "\\y\\a.exe"]}, True),
        ({"SourceImage|endswith": "\\x\\b.exe"}, None),
        ({"SourceImage": "C:\\b.exe"}, None),
        ({"SourceImage|contains": "\\Temp\\"}, True),
        ({"SourceImage": "C:\\a.exe"}, True),
        ({"sourceimage|startswith": "C:\\"}, True),
        (with_names("path and other"), True),
        (with_names("path or other"), False),
        (with_names("name and not path"), False),
        ({"SourceImage|endswith": ["\\x\\a.exe", "\\b.exe"]}, False),
        ({"SourceImage|endswith": "a.exe"}, None),
        ({"SourceImage|endswith": "\\a.exe"}, None),
        ({"SourceImage|re": "\\\\a"}, None),
        ({"SourceImage": "System"}, None),
        ({"TargetImage|endswith": "\\x\\a.exe"}, None),
        ({"StartModule|endswith": "\\x\\a.dll"}, None),
    ],
    ids=lambda value: short(value) if isinstance(value, dict) else str(value),
)
def test_what_asks_for_a_folder_is_a_risk_where_there_is_only_a_name(load, asked, never):
    assert of_partial(load, asked, Lack.PATH, SourceImage="a.exe") == (
        [] if never is None else [(("SourceImage",), never)]
    )
    if never:
        assert titles(load(asked), [{"SourceImage": "a.exe", "TargetImage": "C:\\b.exe"}]) == [()]


@pytest.mark.parametrize(
    "asked", ["\\SearchProtocolHost.exe", "\\x\\SearchProtocolX.exe", "\\Search.exe"], ids=str
)
def test_a_name_that_may_be_cut_may_be_any_that_begins_like_it(load, asked):
    found = of_partial(load, {"SourceImage|endswith": asked}, Lack.END, SourceImage="SearchProtocol")
    assert found == ([] if asked == "\\Search.exe" else [(("SourceImage",), True)])
    assert of_partial(load, {"SourceImage": ""}, Lack.END, SourceImage="SearchProtocol") == []


@pytest.mark.parametrize(
    ("asked", "open_"),
    [
        ({"StartModule": "D:\\x\\a.dll"}, True),
        ({"StartModule|startswith": "D:\\x\\"}, True),
        ({"StartModule|startswith": "D:\\y\\"}, False),
        ({"StartModule": "C:\\b.dll"}, False),
        ({"StartModule": "?:\\x\\a.dll"}, True),
        ({"StartModule|endswith": "\\x\\a.dll"}, False),
    ],
    ids=str,
)
def test_what_asks_for_a_drive_is_a_risk_where_only_the_volume_is_known(load, asked, open_):
    found = of_partial(load, asked, Lack.DRIVE, StartModule="\\Device\\HarddiskVolume7\\x\\a.dll")
    assert found == ([(("StartModule",), True)] if open_ else [])


def test_what_lacks_what_is_seen_from_the_values():
    values = {
        "SourceImage": "powershell.exe",
        "TargetImage": "SearchProtocol",
        "SourceParentImage": "System",
        "TargetParentImage": None,
        "StartModule": "\\Device\\HarddiskVolume7\\a.dll",
    }
    found = {field: partial.lacks for field, partial in partial_values(values.items())}
    assert found == {"SourceImage": Lack.PATH, "TargetImage": Lack.END, "StartModule": Lack.DRIVE}
    assert list(partial_values([("SourceImage", "C:\\a.exe"), ("StartModule", "ntdll.dll")])) == []


def test_a_rule_fires_on_the_name_where_it_asks_for_no_more(load):
    for asked in (
        {"SourceImage|endswith": "\\a.exe"},
        {"SourceImage|endswith": ["\\x.exe", "\\A.EXE"]},
        {"SourceImage|contains": "\\a."},
        {"SourceImage|endswith|cased": "\\a.exe"},
        {"SourceImage|re": "\\\\a\\.exe$"},
        {"SourceImage": "a.exe"},
        {"SourceImage|startswith": "a"},
    ):
        assert titles(load(asked), [{"SourceImage": "a.exe"}, {"SourceImage": "ba.exe"}]) == [("A rule",), ()], (
            asked
        )
    assert titles(load({"SourceImage|endswith": "\\System"}), [{"SourceImage": "System"}]) == [()]
