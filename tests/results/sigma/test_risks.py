"""A rule that asks for what the records at hand never have is named, with what becomes of it."""

import pytest

from etwdetect.results.fields import RecordSource
from etwdetect.results.sigma.fields import lacking
from etwdetect.results.sigma.risks import path_risks, risks

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
    assert load(asked).fired([{"SourceProcessId": 1}, {"SourceProcessId": 2}]) == [(), ()]


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
    assert load(asked).fired([{"SourceProcessId": 1}]) == [("A rule",)]


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
    selections = {"path": {"SourceImage|endswith": "\\a.exe"}, "name": {"SourceImage|contains": "a.exe"}}
    return {**selections, "other": {"TargetImage": "C:\\b.exe"}, "condition": condition}


@pytest.mark.parametrize(
    ("asked", "never"),
    [
        ({"SourceImage|endswith": "\\a.exe"}, True),
        ({"SourceImage|endswith": ["\\a.exe", "\\b.exe"]}, True),
        ({"SourceImage": "C:\\a.exe"}, True),
        ({"sourceimage|startswith": "C:\\"}, True),
        (with_names("path and other"), True),
        (with_names("path or other"), False),
        (with_names("name and not path"), False),
        ({"SourceImage|endswith": "a.exe"}, None),
        ({"SourceImage|endswith": ["\\a.exe", "a.exe"]}, False),
        ({"SourceImage|re": "\\\\a"}, None),
        ({"SourceImage": "System"}, None),
        ({"TargetImage|endswith": "\\a.exe"}, None),
        ({"StartModule|endswith": "\\a.dll"}, None),
    ],
    ids=lambda value: short(value) if isinstance(value, dict) else str(value),
)
def test_what_asks_for_a_path_is_a_risk_where_there_is_only_a_name(load, asked, never):
    found = [each.never for each in path_risks(load(asked).rules, ("SourceImage",))]
    assert found == ([] if never is None else [never])
    if never:
        assert load(asked).fired([{"SourceImage": "a.exe", "TargetImage": "C:\\b.exe"}]) == [()]
