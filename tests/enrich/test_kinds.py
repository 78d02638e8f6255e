"""The kinds: which rule decides, and what is wrong with a file of rules."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.errors import RuleFileError
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.absent import NO_EXPORT, OUTSIDE
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.enrich.fields import FIELDS
from etwdetect.enrich.kind_rules import SEVERITIES, builtin, fits, load, parse
from etwdetect.enrich.kinds import Kinds

NTDLL, KERNEL32 = "C:\\Windows\\System32\\ntdll.dll", "C:\\Windows\\System32\\kernel32.dll"
CSRSS, SYSTEM = "C:\\Windows\\System32\\csrss.exe", "NT AUTHORITY\\SYSTEM"
NO_FILE, NO_FUNCTION = ("StartFunction", "no file"), ("StartFunction", NO_EXPORT)
NOWHERE = Start()
WOW64 = "\\SystemRoot\\SysWOW64\\ntdll.dll"
NTDLLS_32 = [f"C:\\Windows\\{folder}\\ntdll.dll" for folder in ("SysWOW64", "SyChpe32", "SysArm32")]
CONTROL = Start(KERNEL32, 1, "CtrlRoutine")


def detection(address=0x7FFC_0000_1000, *, source=(), start=NOWHERE, absent=(), pointer_size=8, evidence=()):
    thread = RemoteThread(1, 10, 11, 20, 21, address, evidence)
    return Detection(
        thread, "etw", Process(10, **dict(source)), Process(20), start, pointer_size, absent=tuple(absent)
    )


def classify(*arguments, own="", **options):
    rules = parse(own, "own.toml") if own else ()
    return Kinds(rules).classify(detection(*arguments, **options))


@pytest.mark.parametrize(
    ("options", "kind", "severity"),
    [
        ({"start": Start(NTDLL, 1, "DbgUiRemoteBreakin")}, "debugger break-in", "low"),
        *[({"start": Start(ntdll, 1, "DbgUiRemoteBreakin")}, "debugger break-in", "low") for ntdll in NTDLLS_32],
        ({"start": Start(WOW64, 1, "DbgUiRemoteBreakin")}, "debugger break-in", "low"),
        *[
            ({"start": Start(ntdll.replace("ntdll", "kernel32"), 1, "CtrlRoutine"), "source": {"image": CSRSS}},
             "console control", "informational")
            for ntdll in NTDLLS_32
        ],
        ({"start": Start("C:\\Users\\x\\ntdll.dll", 1, "DbgUiRemoteBreakin")}, "other", "medium"),
        ({"start": Start(KERNEL32, 1, "LoadLibraryA")}, "library load", "high"),
        ({"start": Start("\\Windows\\System32\\KernelBase.dll", 1, "LoadLibraryExW")}, "library load", "high"),
        ({"start": Start(NTDLL, 1, "LdrLoadDll")}, "library load", "high"),
        ({"start": CONTROL, "source": {"image": CSRSS}}, "console control", "informational"),
        ({"start": CONTROL, "source": {"image": "C:\\x.exe"}}, "other", "medium"),
        ({"address": 0xFFFF_F800_0000_1000}, "kernel-mode start", "informational"),
        ({"address": 0xC000_0000, "pointer_size": 4}, "kernel-mode start", "informational"),
        ({"absent": [("StartModule", OUTSIDE)]}, "start outside any image", "high"),
        (
            {"absent": [("StartModule", OUTSIDE)], "source": {"image": CSRSS, "user": SYSTEM}},
            "start outside any image",
            "high",
        ),
        ({"source": {"image": CSRSS}}, "console control", "low"),
        ({"source": {"image": "csrss.exe", "user": SYSTEM}}, "console control", "low"),
        ({"start": Start(KERNEL32, 1), "source": {"image": CSRSS}, "absent": [NO_FILE]}, "console control", "low"),
        ({"start": Start(NTDLL, 1, pool=True), "absent": [NO_FILE]}, "thread-pool worker", "medium"),
        ({"start": Start(NTDLL, 1, pool=True), "absent": [NO_FUNCTION]}, "thread-pool worker", "medium"),
        ({"start": Start("C:\\a.dll", 1), "absent": [NO_FILE]}, "other", "medium"),
        ({"start": Start(NTDLL, 1), "absent": [("StartFunction", NO_EXPORT)]}, "other", "medium"),
    ],
)  # fmt: skip
def test_the_built_in_rules(options, kind, severity):
    found = classify(**options)
    assert (found.kind, found.severity) == (kind, severity)
    assert found.reason


@pytest.mark.parametrize(
    "options",
    [
        {"start": Start(NTDLL, 1), "absent": [NO_FILE]},
        {"absent": [("StartModule", "the trace does not tell of the target's images")]},
        {"source": {"image": "csrss.exe"}},  # whoever it is that is called so
        {"source": {"image": "C:\\Users\\x\\csrss.exe", "user": SYSTEM}},
        {"source": {"image": "csrss.exe", "user": "S-1-5-21-1-2-3-500"}},
        {"address": 0x8000_0000},
    ],
)
def test_where_the_kind_cannot_be_known_it_is_absent_and_says_why(options):
    found = classify(**options)
    assert (found.kind, found.reason, found.severity) == (None, None, "medium")
    (why,) = (why for field, why in found.absent if field == "Kind")
    assert "not known" in why


def test_a_reason_has_what_it_rests_on():
    found = classify(source={"image": CSRSS}, absent=[("StartFunction", "no file")])
    assert found.reason.endswith("the start function is not known: no file")
    assert classify(0xFFFF_F800_0000_1000).reason.startswith(
        "its start address 0xFFFFF80000001000 is the kernel's"
    )


def test_every_rule_that_comes_with_the_package_has_a_reason():
    assert all(rule.reason for rule in builtin())


def test_the_kinds_that_may_be_an_injection_have_their_techniques():
    assert classify(start=Start(KERNEL32, 1, "LoadLibraryA")).techniques == ("T1055.001",)
    assert classify(absent=[("StartModule", OUTSIDE)]).techniques == ("T1055",)
    assert classify(start=Start("C:\\a.dll", 1), absent=[NO_FILE]).techniques == ("T1055",)
    assert classify(start=Start(NTDLL, 1, "DbgUiRemoteBreakin")).techniques == ()
    own = own_rule(attack='["T1055.012", "T1106"]')
    assert classify(start=Start(NTDLL, 1, "DbgUiRemoteBreakin"), own=own).techniques == ("T1055.012", "T1106")


# -- a user's own rules


def own_rule(**keys):
    lines = {"name": '"mine"', "kind": '"my kind"', "severity": '"low"', "when": "{}"} | keys
    return "[[rule]]\n" + "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)


def test_a_rule_of_ones_own_comes_before_the_built_in_ones():
    found = classify(start=Start(KERNEL32, 1, "LoadLibraryA"), own=own_rule(when="{StartFunction='loadlibrary*'}"))
    assert (found.kind, found.severity, found.reason) == ("my kind", "low", "the rule 'mine' fits")


def test_a_rule_may_decide_the_severity_alone():
    own = own_rule(kind=None, severity='"high"', when="{StartFunction='DbgUiRemoteBreakin'}")
    found = classify(start=Start(NTDLL, 1, "DbgUiRemoteBreakin"), own=own)
    assert (found.kind, found.severity) == ("debugger break-in", "high")


def test_a_rule_may_decide_the_kind_alone():
    own = own_rule(severity=None, when="{StartFunction='DbgUiRemoteBreakin'}")
    found = classify(start=Start(NTDLL, 1, "DbgUiRemoteBreakin"), own=own)
    assert (found.kind, found.severity) == ("my kind", "low")


@pytest.mark.parametrize(
    ("when", "is_mine"),
    [
        ("{}", True),
        ("{SourceProcessId = 10}", True),
        ("{SourceProcessId = [9, 11]}", False),
        ("{SourceImage = ['c:\\x*', '*\\TOOL.exe']}", True),
        ("{SourceImage = 'tool.exe'}", False),
        ("{SourceImage = '*', SourceUser = ''}", True),
        ("{SourceImage = '', SourceUser = ''}", False),
        ("{Evidence = 'events-lost:*'}", True),
        ("{Evidence = ''}", False),
        ("{SourceFile = '\\a\\tool.exe'}", True),
        ("{StartAddress = '0x00007FFC00001000'}", True),
    ],
)
def test_conditions(when, is_mine):
    found = classify(
        source={"image": "C:\\a\\tool.exe"}, evidence=("session-start", "events-lost:3"), own=own_rule(when=when)
    )
    assert (found.kind == "my kind") == is_mine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no [[rule]]"),
        ("rule = 3", "has no [[rule]]"),
        ("[[rule]]\n[x]", "unknown key 'x'; only [[rule]] is allowed"),
        ("[[rule]", "is not valid TOML"),
        (own_rule(when="{SourceProcessId=" + "9" * 5_000 + "}"), "is not valid TOML"),
        ("a" + ".a" * 100_000 + " = 1", "line 1 has more than 500 dots"),
        (own_rule(name=None), "rule 1: name: is missing"),
        (own_rule(name="3"), "rule 1: name: must be a printable string on one line"),
        (own_rule(kind='"a\\nb"'), "rule 1 ('mine'): kind: must be a printable string on one line"),
        (own_rule(kind=None, severity=None), "rule 1 ('mine'): needs a kind or a severity"),
        (own_rule(at_least='"low"'), "at_least: has no use beside a severity"),
        (own_rule(severity=None, at_least='"most"'), "at_least: 'most' must be one of critical, high, medium"),
        (
            own_rule(severity='"severe"'),
            "severity: 'severe' must be one of critical, high, medium, low, informational",
        ),
        (
            own_rule(colour='"red"'),
            "colour: unknown key; allowed are name, kind, severity, at_least, attack, reason, when",
        ),
        (own_rule(attack='"T1055"'), "attack: must be a list of technique ids such as"),
        (own_rule(attack='["t1055"]'), "attack: must be a list of technique ids such as"),
        (own_rule(kind=None, attack='["T1055"]'), "attack: needs a kind"),
        (own_rule(when=None), "when: must be a table of fields; an empty one always matches"),
        (own_rule(when="{Source='a'}"), "when: 'Source' is not a field"),
        (own_rule(when="{SourceImage=1.5}"), "when.SourceImage: must be a string, an integer, or a list of these"),
        (own_rule(when="{SourceImage=[]}"), "when.SourceImage: must be a string"),
        (own_rule(when="{SourceImage=true}"), "when.SourceImage: must be a string"),
        (
            own_rule(when="{StartModuleOffset=0xCD3F0}"),
            "StartModuleOffset: must be a string such as '0x1F40'",
        ),
        (own_rule(reason='"as {Foo} is"'), "reason: 'Foo' is not a field"),
        (own_rule() + "\n" + own_rule(), "rule 2: name: 'mine' is used by an earlier rule"),
    ],
)
def test_a_mistake_is_told_with_its_file_rule_and_field(text, message):
    with pytest.raises(RuleFileError) as error:
        parse(text, "own.toml")
    assert str(error.value).startswith("own.toml: ")
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(RuleFileError, match="cannot be read"):
        load(tmp_path)
    path = tmp_path / "a.toml"
    path.write_bytes(b"# \xff")
    with pytest.raises(RuleFileError, match="is not UTF-8 at byte 2"):
        load(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(RuleFileError, match="is larger than"):
        load(path)
    path.write_text(own_rule())
    assert [rule.name for rule in load(path)] == ["mine"]


def test_the_mark_that_windows_editors_begin_a_file_with_is_no_mistake(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(own_rule(), "utf-8-sig")
    assert [rule.name for rule in load(path)] == ["mine"]


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a.exe", "A.EXE", True),
        ("a.exe", "aa.exe", False),
        ("*", "", True),
        ("", "", False),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("*ab*ab*", "xabx", False),
        ("a.c", "abc", False),
        ("[a]", "a", False),
    ],
)
def test_a_pattern_is_the_whole_text_with_stars_for_any_text(pattern, text, expected):
    assert fits(pattern, text) == expected


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_fits_where_its_stars_can_be_filled(pattern, text):
    def can(pattern, text):
        if not pattern or pattern[0] != "*":
            return (not pattern and not text) or (pattern[:1] == text[:1] != "" and can(pattern[1:], text[1:]))
        return any(can(pattern[1:], text[at:]) for at in range(len(text) + 1))

    assert fits(pattern, text) == (bool(pattern) and can(pattern, text))


def test_no_pattern_takes_long():
    assert not fits("*a" * 500 + "b", "a" * 32_767)


TEXTS = st.none() | st.sampled_from(("csrss.exe", CSRSS, NTDLL, KERNEL32, SYSTEM, "")) | st.text(max_size=9)


@given(
    st.builds(
        Detection,
        st.builds(RemoteThread, st.just(1), st.just(10), st.just(11), st.just(20), st.just(21),
                  st.none() | st.integers(0, 2**64 - 1)),
        st.just("etw"),
        st.builds(Process, st.just(10), TEXTS, user=TEXTS),
        st.builds(Process, st.just(20), TEXTS),
        st.builds(Start, TEXTS, st.none() | st.integers(0, 9), TEXTS, st.booleans()),
        st.sampled_from((4, 8)),
        absent=st.lists(st.tuples(st.sampled_from(("StartModule", "StartFunction")),
                                  st.sampled_from((OUTSIDE, NO_EXPORT, "why"))), max_size=2).map(tuple),
    )
)  # fmt: skip
def test_every_detection_gets_a_severity_and_a_kind_or_a_reason_why_not(found):
    after = Kinds().classify(found)
    assert after.severity in SEVERITIES
    assert after.thread == found.thread
    assert (after.kind is None) == ("Kind" in dict(after.absent))
    assert (after.kind is None) == (after.reason is None)


@given(st.lists(st.sampled_from(["kind", "severity", "both"]), min_size=1, max_size=5))
def test_the_first_rule_that_fits_decides_and_only_that(which):
    keys = {"kind": {"severity": None}, "severity": {"kind": None}, "both": {}}
    own = "\n".join(own_rule(name=f'"r{number}"', **keys[each]) for number, each in enumerate(which))
    kinds = Kinds(parse(own, "own.toml"))
    decided = list(itertools.chain(*(each.assigned for each in kinds.evaluate(detection()))))
    assert sorted(decided) == ["kind", "severity"]


def test_what_was_found_of_a_value_is_found_again_and_forgotten_in_time(monkeypatch):
    monkeypatch.setattr("etwdetect.enrich.kinds._MOST_VALUES", 3)
    kinds = Kinds(parse(own_rule(when="{SourceImage = ['*1', '*_'], Evidence = ['', 'e7', 'e_']}"), "own.toml"))
    for number in (*range(8), *range(8), 1, 1, 0, 1):
        for image in (f"C:\\a{number}", "", None, f"{number}" * 300, "_" * 300):
            for evidence in ((), (f"e{number}",), ("e" * 300, "e_")):
                found = kinds.classify(detection(source={"image": image}, evidence=evidence))
                fits_image = image is not None and image.endswith(("1", "_"))
                fits_evidence = not evidence or {"e7", "e_"} & set(evidence)
                assert (found.kind == "my kind") == bool(fits_image and fits_evidence)


def test_every_field_of_a_detection_without_anything_is_text_or_not_known():
    for name, field in FIELDS.items():
        value = field(detection())
        assert value is None or isinstance(value, str | tuple), name
