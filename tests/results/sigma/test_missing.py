"""Absent, null, '' and '-' are one: missing. It answers what asks for '' or null, and nothing else."""

import pytest

MISSING = [{}, {"StartModule": None}, {"StartModule": ""}, {"StartModule": "-"}]
PRESENT = {"StartModule": "ntdll.dll"}

missing = pytest.mark.parametrize("record", MISSING, ids=str)


@missing
@pytest.mark.parametrize(
    "asked",
    [{"StartModule": ""}, {"StartModule": None}, {"StartModule": "-"}, {"StartModule|exists": False}],
    ids=str,
)
def test_what_asks_for_missing_fires_on_each_form_of_it_and_on_nothing_else(fires, record, asked):
    assert fires(asked, **record)
    assert not fires(asked, **PRESENT)


@missing
def test_missing_may_be_one_of_several_values(fires, record):
    for asked in (["", "x.dll"], [None, "x.dll"]):
        assert fires({"StartModule": asked}, **record)
        assert fires({"StartModule": asked}, StartModule="x.dll")
        assert not fires({"StartModule": asked}, **PRESENT)


OTHERS = [
    {"StartModule": "ntdll.dll"},
    {"StartModule": "*"},
    {"StartModule": "?"},
    {"StartModule|contains": ""},
    {"StartModule|contains": "-"},
    {"StartModule|startswith": ""},
    {"StartModule|endswith": "-"},
    {"StartModule|re": ".*"},
    {"StartModule|re": "^$"},
    {"StartModule|cased": "*"},
    {"StartModule|cased": "?"},
    {"StartModule|exists": True},
    {"StartModule|cidr": "0.0.0.0/0"},
    {"StartModule|fieldref": "StartFunction"},
    {"StartModule": True},
    {"StartModule": 0},
]


@missing
@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_nothing_else_fires_on_missing(fires, record, asked):
    assert not fires(asked, **record)


@missing
@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_what_excludes_anything_else_lets_missing_through(fires, record, asked):
    """SQL would make NULL of NOT NULL, and lose the record."""
    detection = {"all": {"SourceProcessId": 1}, "filter": asked, "condition": "all and not filter"}
    assert fires(detection, SourceProcessId=1, **record)


@missing
@pytest.mark.parametrize("asked", ["", None, "-"], ids=str)
def test_what_excludes_missing_holds_it_back(fires, record, asked):
    detection = {"filter": {"StartModule": asked}, "condition": "not filter"}
    assert not fires(detection, **record)
    assert fires(detection, **PRESENT)


@missing
def test_a_negation_inside_a_negation_counts_missing_as_false(fires, record):
    detection = {
        "module": {"StartModule|contains": "ntdll"},
        "function": {"StartFunction": "x"},
        "condition": "not (module or not (function or module))",
    }
    assert not fires(detection, **record)
    detection["condition"] = "not (module and not function)"
    assert fires(detection, **record)


@missing
@pytest.mark.parametrize("asked", ["", None, "-"], ids=str)
def test_missing_is_asked_for_with_any_modifier_that_leaves_the_value_as_it_is(fires, record, asked):
    assert fires({"StartModule|neq": asked}, **PRESENT)
    assert not fires({"StartModule|neq": asked}, **record)
    if asked is not None:
        assert fires({"StartModule|cased": asked}, **record)


def test_a_number_can_be_missing_and_zero_is_not(fires):
    for asked in ("", None):
        assert fires({"TargetParentProcessId": asked})
        assert not fires({"TargetParentProcessId": asked}, TargetParentProcessId=0)
    for modifier in ("lt", "lte", "gt", "gte"):
        detection = {"size": {f"TargetParentProcessId|{modifier}": 5}, "condition": "size"}
        assert not fires(detection)
        assert fires({**detection, "condition": "not size"})


def test_two_missing_fields_are_not_equal(fires):
    detection = {"same": {"StartModule|fieldref": "StartFunction"}, "condition": "not same"}
    assert fires(detection)


def test_a_field_that_no_record_has_is_missing(fires):
    assert fires({"ParentOfTheUser": ""})
    assert not fires({"ParentOfTheUser": "x"})
    assert fires({"filter": {"ParentOfTheUser|contains": "x"}, "condition": "not filter"})
