"""What each way of comparing means; the left value fires, the right one does not."""

import pytest

from etwdetect.results.sigma import NoRuleLoadedError
from tests.results.sigma.conftest import titles

IMAGE = r"C:\Windows\System32\cmd.exe"


@pytest.mark.parametrize(
    ("asked", "fits", "does_not"),
    [
        # plain
        ({"SourceImage": IMAGE}, IMAGE, IMAGE + "x"),
        ({"SourceImage": "cmd.exe"}, "CMD.exe", IMAGE),
        ({"SourceImage": "größe.exe"}, "GRÖßE.EXE", "grosse.exe"),
        ({"SourceImage": ["one.exe", "two.exe"]}, "two.exe", "three.exe"),
        ({"SourceImage": "it's"}, "IT'S", "its"),
        ({"SourceImage": "a\0b"}, "A\0B", "a"),
        ({"SourceImage": "100%_sure"}, "100%_sure", "100xxsure"),
        # wildcards and escapes
        ({"SourceImage": r"C:\\*\cmd.exe"}, IMAGE, r"C:\cmd.exe"),
        ({"SourceImage": r"cmd.???"}, "cmd.exe", "cmd.ps"),
        ({"SourceImage": r"cmd?exe"}, "cmdÄexe", "cmd.exe.exe"),
        ({"SourceImage": r"a\*b"}, "a*b", "axb"),
        ({"SourceImage": r"a\?b"}, "a?b", "axb"),
        ({"SourceImage": r"C:\\x"}, r"C:\x", r"C:\\x"),
        ({"SourceImage": r"\\\\host\x"}, r"\\host\x", r"\host\x"),
        ({"SourceImage": "*"}, "anything", None),
        # contains, startswith, endswith
        ({"SourceImage|contains": r"\SYSTEM32\\"}, IMAGE, r"C:\System32"),
        ({"SourceImage|contains": "ärz"}, "VERÄRZTET", "verarztet"),
        ({"SourceImage|startswith": "c:"}, IMAGE, r"\Device\c:"),
        ({"SourceImage|endswith": r"\cmd.exe"}, IMAGE, r"C:\acmd.exe"),
        ({"SourceImage|contains|all": ["windows", "cmd"]}, IMAGE, r"C:\Windows\calc.exe"),
        ({"SourceImage|contains": ["windows", "cmd"]}, r"C:\Windows\calc.exe", "calc.exe"),
        # upper and lower case apart
        ({"SourceImage|cased": "Cmd.exe"}, "Cmd.exe", "cmd.exe"),
        ({"SourceImage|contains|cased": "Wind*Sys"}, IMAGE, IMAGE.lower()),
        ({"SourceImage|cased": "f[oo]"}, "f[oo]", "fo"),
        ({"SourceImage|cased": "Ähre"}, "Ähre", "ähre"),
        # numbers
        ({"SourceProcessId": 4}, 4, 44),
        ({"SourceProcessId": "4"}, 4, 44),
        ({"SourceProcessId": [4, 8]}, 8, 48),
        ({"SourceProcessId|startswith": "4"}, 48, 84),
        ({"SourceProcessId|gt": 9}, 10, 9),
        ({"SourceProcessId|gte": 10}, 10, 9),
        ({"SourceProcessId|lt": 10}, 9, 10),
        ({"SourceProcessId|lte": 9}, 9, 10),
        ({"Time|gt": 132_337_152_000_000_000}, "132337152000000001", "132337152000000000"),
        ({"SourceImage": 7}, "7", "77"),
        # regular expressions
        ({"SourceImage|re": r"\\c[a-m]d\.exe$"}, IMAGE, IMAGE.upper()),
        ({"SourceImage|re|i": r"^c:.*CMD"}, IMAGE, "cmd"),
        ({"SourceImage|re": "it's"}, "it's", "its"),
        ({"SourceImage|re": "^Ä"}, "Ä", "ä"),
        ({"SourceProcessId|re": "^1.*9$"}, 1239, 1230),
        ({"SourceImage|re|s": "a.b"}, "a\nb", "ab"),
        ({"SourceImage|re|m": "^b"}, "a\nb", "ab"),
        # the rest
        ({"SourceImage|neq": "a.exe"}, "b.exe", "a.exe"),
        ({"SourceUser|cidr": "10.0.0.0/8"}, "10.1.2.3", "11.1.2.3"),
        ({"SourceCommandLine|contains|windash": " -x"}, "a /x", "a x"),
        ({"SourceCommandLine|base64|contains": "cmd.exe"}, "-enc Y21kLmV4ZQ==", "-enc cmd.exe"),
        ({"SourceCommandLine|wide|base64offset|contains": "cmd"}, "-e YwBtAGQA", "-e Y21k"),
        ({"UtcTime|hour": 13}, "2020-05-12 13:08:15.280", "2020-05-12 12:08:15.280"),
        ({"UtcTime|year": 2020}, "2020-05-12 13:08:15.280", "2021-05-12 13:08:15.280"),
        ({"SourceImage|exists": True}, "a", None),
        ({"SourceImage|exists": False}, None, "a"),
        ({"Evidence|contains": "events-lost"}, ["session-start", "events-lost:2"], ["session-start"]),
        # other ways to name a field
        ({"sourceimage": "a"}, "A", "b"),
    ],
    ids=str,
)
def test_a_comparison(fires, asked, fits, does_not):
    name = {"sourceimage": "SourceImage"}.get(*[next(iter(asked)).partition("|")[0]] * 2)
    assert fires(asked, **{name: fits})
    assert not fires(asked, **{name: does_not})


@pytest.mark.parametrize(
    ("asked", "source", "target", "whether"),
    [
        ({"SourceImage|fieldref": "TargetImage"}, "A.exe", "a.EXE", True),
        ({"SourceImage|fieldref": "TargetImage"}, "ä.exe", "Ä.exe", True),
        ({"SourceImage|fieldref": "TargetImage"}, "a.exe", "b.exe", False),
        ({"SourceImage|fieldref": "TargetImage"}, None, None, False),
        ({"SourceImage|fieldref|startswith": "TargetImage"}, r"C:\A\b", r"c:\a", True),
        ({"SourceImage|fieldref|startswith": "TargetImage"}, r"C:\A\b", None, False),
        ({"SourceImage|fieldref|endswith": "TargetImage"}, r"C:\a%b", "A%B", True),
        ({"SourceImage|fieldref|endswith": "TargetImage"}, r"C:\axb", "a%b", False),
        ({"SourceImage|fieldref|contains": "TargetImage"}, r"C:\a_b\c", "A_B", True),
        ({"SourceImage|fieldref|contains": "TargetImage"}, r"C:\axb\c", "a_b", False),
    ],
)
def test_two_fields_are_compared(fires, asked, source, target, whether):
    assert fires(asked, SourceImage=source, TargetImage=target) == whether


def test_two_numbers_are_compared(fires):
    asked = {"SourceParentProcessId|fieldref": "TargetProcessId"}
    assert fires(asked, SourceParentProcessId=5, TargetProcessId=5)
    assert not fires(asked, SourceParentProcessId=5, TargetProcessId=55)


def test_a_long_text_is_compared_with_another_field_too(fires):
    long = "%_" * 30_000
    assert fires({"SourceCommandLine|fieldref|contains": "SourceImage"}, SourceCommandLine=long, SourceImage=long)


@pytest.mark.parametrize("keyword", ["mimikatz", "MIMI*tz", 8336, "f[o]o*bar", "überall"])
def test_a_keyword_is_looked_for_in_every_field(fires, keyword):
    record = {"TargetProcessId": 8336, "SourceCommandLine": r"C:\x\Mimikatz.exe f[o]o bar ÜBERALL"}
    assert fires({"keywords": [keyword], "condition": "keywords"}, **record)
    assert not fires({"keywords": [keyword], "condition": "keywords"}, SourceCommandLine="nothing")


def test_keywords_may_be_asked_for_all_at_once_and_by_regular_expression(fires):
    both = {"keywords": {"|all": ["one", "two"]}, "condition": "keywords"}
    assert fires(both, SourceImage="one", TargetImage="two")
    assert not fires(both, SourceImage="one")
    assert fires({"keywords": {"|re": ["o.e"]}, "condition": "keywords"}, SourceImage="one")
    assert not fires({"keywords": {"|re": ["O.E"]}, "condition": "keywords"}, SourceImage="one")


@pytest.mark.parametrize(
    ("condition", "whether"),
    [
        ("yes_1", True),
        ("no_1", False),
        ("not no_1", True),
        ("yes_1 and not no_1", True),
        ("no_1 or yes_1", True),
        ("1 of yes_*", True),
        ("all of yes_*", True),
        ("1 of no_*", False),
        ("all of them", False),
        ("yes_1 and not 1 of no_*", True),
        ("not (yes_1 and no_1)", True),
    ],
)
def test_selections_are_combined(fires, condition, whether):
    detection = {
        "yes_1": {"SourceImage": "a"},
        "yes_2": [{"SourceImage": "x"}, {"SourceImage": "a", "TargetImage": "b"}],
        "no_1": {"SourceImage": "a", "TargetImage": "x"},
        "condition": condition,
    }
    assert fires(detection, SourceImage="a", TargetImage="b") == whether


def test_a_rule_with_several_conditions_fires_once_when_one_is_true(load):
    detection = {"a": {"SourceImage": "a"}, "b": {"TargetImage": "b"}, "condition": ["a", "b"]}
    rules = load(detection)
    assert titles(
        rules, [{"SourceImage": "a"}, {"TargetImage": "b"}, {"SourceImage": "a", "TargetImage": "b"}, {}]
    ) == [
        ("A rule",),
        ("A rule",),
        ("A rule",),
        (),
    ]


def test_what_other_collectors_tell_of_a_remote_thread_is_known(fires):
    assert fires({"EventID": 8, "IsInitialThread": False, "RemoteCreation": True})
    assert not fires({"IsInitialThread": True})
    assert fires({"User|contains": "system"}, SourceUser=r"NT AUTHORITY\SYSTEM")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"SourceImage|gt": 5}, "SourceImage is text, and only numbers can be compared by size"),
        ({"Time|hour": 5}, "Time has no hours and days: only UtcTime has"),
        ({"SourceImage|expand": "%admins%"}, "placeholder 'admins'"),
        ({"SourceImage|no_such": "x"}, "Unknown modifier 'no_such'"),
        ({"SourceImage|re": "(?<=a)b"}, "invalid perl operator"),
        ({"SourceImage|re": "((a{100}){100}){100}"}, "is invalid"),
        ({"SourceImage|re": "("}, "is invalid"),
        ({"SourceImage|cidr": "300.0.0.0/8"}, "300.0.0.0/8"),
        ({"SourceImage|contains": 4}, "SigmaContainsModifier incompatible"),
        ({"SourceImage|re": "a\0b"}, "SQLite refuses it"),
        ({"SourceImage": "*" + "x" * 60_000}, "SQLite refuses it"),
        ({"selection": {}, "condition": "selection"}, ""),
        ({"selection": {"SourceImage": "a"}, "condition": "selection | count() > 5"}, "correlations"),
        ({"selection": {"SourceImage": "a"}, "condition": "1 of filter_*"}, "doesn't match any"),
        ({"selection": {"SourceImage": "a"}, "condition": "selection and other"}, "other"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_asked_is_said_when_the_rule_is_loaded(load, capfd, asked, why):
    with pytest.raises(NoRuleLoadedError) as raised:
        load(asked)
    assert why in str(raised.value)
    assert "rule.yml: " in str(raised.value)
    assert capfd.readouterr() == ("", "")
