"""Which rules load from which files, what is said of the others, and that none of them does harm."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich.detection import FiredRule
from etwdetect.results.sigma import NoRuleLoadedError, load_rules
from etwdetect.results.sigma.rules import MAX_SIZE
from tests.results.sigma.conftest import rule_text, titles

RULE = rule_text({"SourceImage": "a"})
HEAD = "title: A rule\nlogsource: {product: windows, category: create_remote_thread}\n"


def broken(loader, *texts):
    """What is said of files that have these *texts*, beside one that is well."""
    paths = [loader.write(text, f"{number}.yml") for number, text in enumerate(texts)]
    rules = load_rules([*paths, loader.write(RULE, "good.yml")])
    assert [rule.title for rule in rules.rules] == ["A rule"]
    assert [path for path, _ in rules.broken] == paths
    return [why for _, why in rules.broken]


def test_files_and_directories_are_read_each_file_once_and_in_order(load):
    load.write(rule_text({"SourceImage": "a"}, title="B"), "rules/b.yml")
    load.write(rule_text({"SourceImage": "a"}, title="A"), "rules/deep/er/a.yaml")
    load.write("not a rule", "rules/readme.md")
    single = load.write(rule_text({"SourceImage": "a"}, title="C"), "c.yml")
    rules = load_rules([single, load.folder / "rules", load.folder])
    assert [rule.title for rule in rules.rules] == ["C", "B", "A"]
    assert (rules.broken, rules.others) == ([], 0)
    assert titles(rules, [{"SourceImage": "A"}]) == [("C", "B", "A")]


def test_a_title_is_named_once(load):
    load.write(RULE, "1.yml")
    load.write(RULE, "2.yml")
    assert titles(load_rules([load.folder]), [{"SourceImage": "a"}]) == [("A rule",)]


@pytest.mark.parametrize(
    "logsource",
    [
        {"product": "windows", "category": "process_creation"},
        {"product": "linux", "category": "create_remote_thread"},
        {"product": "windows", "category": "create_remote_thread", "service": "security"},
    ],
    ids=str,
)
def test_rules_of_other_kinds_are_skipped_and_counted(load, logsource):
    # The words of the category in a description alone make no rule of it.
    other = load.write(
        rule_text({"Image": "a"}, logsource=logsource, description="no create_remote_thread"), "o.yml"
    )
    rules = load_rules([load.write(RULE), other])
    assert (len(rules.rules), rules.others, rules.broken) == (1, 1, [])
    with pytest.raises(NoRuleLoadedError, match=r"no Sigma rule .* loaded \(1 files hold none\)"):
        load_rules([other])


def test_a_rule_for_any_product_is_one_for_windows(load):
    text = rule_text({"SourceImage": "a"}, logsource={"category": "create_remote_thread"})
    assert titles(load_rules([load.write(text)]), [{"SourceImage": "a"}]) == [("A rule",)]


def test_a_file_may_have_several_rules_and_what_they_share(load):
    text = (
        "action: global\nlogsource: {product: windows, category: create_remote_thread}\n---\n"
        "title: One\ndetection: {s: {SourceImage: a}, condition: s}\n---\n"
        "title: Two\ndetection: {s: {TargetImage: b}, condition: s}\n---\n"
    )
    assert titles(load_rules([load.write(text)]), [{"SourceImage": "a", "TargetImage": "b"}]) == [("One", "Two")]


def test_a_broken_rule_is_told_and_the_others_load(load):
    said = broken(
        load,
        HEAD + "detection: {s: {A: b}}",
        HEAD + "detection: {s: {A: b}, condition: }",
        HEAD + "detection: {s: [}, condition: s}",
        HEAD + "detection:\n  s: {A: b}\n  s: {A: c}\n  condition: s",
        "- create_remote_thread",
        "create_remote_thread",
        HEAD + "detection: {s: {EventID: 10}, condition: s}",
        HEAD + "detection: 5",
        HEAD + "detection: [1, 2]",
        HEAD + "detection: {s: {5: b}, condition: s}",
        HEAD + "correlation: {type: event_count, rules: [x], group-by: [A], timespan: 1h, condition: {gte: 5}}",
        HEAD + "filter: {rules: [x], s: {A: b}, condition: not s}",
        b"create_remote_thread: \xff\xfe",
    )
    for expected, why in zip(
        [
            "at least one condition",
            "",
            "flow node",
            "'s' is twice",
            "not a mapping of names to values",
            "not a mapping of names to values",
            "another event than Sysmon's event 8",
            "",
            "",
            "",
            "correlations",
            "filters",
            "start byte",
        ],
        said,
        strict=True,
    ):
        assert expected in why
        assert why
        assert "\n" not in why


ODD = {
    "a tag without a namespace": ({"tags": ["sysmon", "attack.t1055"]}, "tag"),
    "tags that are no list": ({"tags": "attack.t1055"}, "tags"),
    "an id that is no UUID": ({"id": "rule-7"}, "UUID"),
    "an unknown status": ({"status": "great"}, "status"),
    "an unknown level": ({"level": "severe"}, "level"),
    "a date": ({"date": "last week"}, "date"),
    "references that are no list": ({"references": "https://example.org/"}, "references"),
    "no author": ({"author": 7}, "author"),
    "no title": ({"title": None}, "title"),
}


@pytest.mark.parametrize(("metadata", "word"), ODD.values(), ids=ODD)
def test_a_rule_with_odd_metadata_is_used_and_the_oddity_told(load, metadata, word):
    rules = load({"SourceImage": "a"}, **{"title": "A rule", **metadata})
    assert rules.broken == []
    (rule,) = rules.rules
    assert any(word in oddity for oddity in rule.oddities)
    assert titles(rules, [{"SourceImage": "a"}]) == [(metadata.get("title", "A rule") or "rule.yml",)]


def test_a_broken_rule_of_a_file_leaves_the_others_in_use(load):
    text = (
        "title: One\n" + HEAD.split("\n", 1)[1] + "detection: {s: {SourceImage|nonsense: a}, condition: s}\n---\n"
        "title: Two\n" + HEAD.split("\n", 1)[1] + "detection: {s: {TargetImage: b}, condition: s}\n"
    )
    rules = load_rules([load.write(text)])
    assert [rule.title for rule in rules.rules] == ["Two"]
    ((_, why),) = rules.broken
    assert why.startswith("the rule 'One': ")
    assert "nonsense" in why


SYSMON = {"product": "windows", "service": "sysmon"}


@pytest.mark.parametrize(
    "asked",
    [{"EventID": 8, "SourceImage": "a"}, {"EventID": [1, "8"], "SourceImage": "a"}, {"SourceImage": "a"}],
    ids=str,
)
def test_a_rule_for_all_that_sysmon_logs_counts_where_event_8_can_fit(load, asked):
    rules = load_rules([load.write(rule_text(asked, logsource=SYSMON))])
    assert titles(rules, [{"SourceImage": "A"}, {"SourceImage": "b"}]) == [("A rule",), ()]


@pytest.mark.parametrize("asked", [{"EventID": 1}, {"EventID": [1, 10]}, {"GrantedAccess": "0x1FFFFF"}], ids=str)
def test_a_rule_for_another_event_of_sysmon_is_one_of_the_others(load, asked):
    rules = load_rules([load.write(RULE), load.write(rule_text(asked, logsource=SYSMON), "other.yml")])
    assert (len(rules.rules), rules.others, rules.broken) == (1, 1, [])


def test_what_other_tools_ask_for_beside_the_category_fits(fires):
    event = {"EventID": 8, "Channel": "Microsoft-Windows-Sysmon/Operational"}
    assert fires({"event": event, "s": {"SourceImage": "a"}, "condition": "event and s"}, SourceImage="a")
    assert fires({"Provider_Name": "Microsoft-Windows-Sysmon", "ComputerName": "PC"}, Computer="pc")
    assert not fires({"Channel|contains": "Security", "SourceImage": "a"}, SourceImage="a")


def test_what_is_kept_of_a_rule_is_what_it_says_of_itself(load):
    about = {
        "id": "99b97608-3e21-4bfe-8217-2a127c396a0e",
        "level": "high",
        "tags": ["attack.t1055.001", "attack.defense-evasion"],
        "references": ["https://example.org/a"],
    }
    (fired,) = load({"SourceImage": "a"}, **about).fired([{"SourceImage": "a"}])
    assert fired == (FiredRule("A rule", about["id"], "high", tuple(about["tags"]), tuple(about["references"])),)


def test_rules_below_a_level_are_left_out_and_counted(load):
    for level in ("low", "medium", "critical"):
        load.write(rule_text({"SourceImage": "a"}, title=level, level=level), f"{level}.yml")
    load.write(rule_text({"SourceImage": "a"}, title="none"), "none.yml")
    rules = load_rules([load.folder], min_level="medium")
    assert titles(rules, [{"SourceImage": "a"}]) == [("critical", "medium")]
    assert (rules.below, rules.others) == (2, 0)
    (load.folder / "critical.yml").unlink()
    with pytest.raises(NoRuleLoadedError, match="3 rules are below the level"):
        load_rules([load.folder], min_level="high")


def test_files_that_cannot_be_read_are_told(load):
    good = load.write(RULE)
    gone = load.folder / "gone.yml"
    folder = load.folder / "folder.yml"
    folder.mkdir()
    rules = load_rules([good, gone, load.folder])
    assert [(path, bool(why)) for path, why in rules.broken] == [(gone, True), (folder, True)]


@pytest.mark.skipif(os.name == "nt", reason="making a link needs a right there")
def test_what_cannot_be_looked_into_is_told_and_keeps_no_rule_from_loading(load, monkeypatch):
    load.write(RULE)
    (load.folder / "loop.yml").symlink_to("loop.yml")
    (load.folder / "locked").mkdir()
    scandir = os.scandir

    def denied(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", f"{path}")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    rules = load_rules([load.folder])
    assert [rule.title for rule in rules.rules] == ["A rule"]
    assert rules.broken == [
        (load.folder / "locked", "Permission denied"),
        (load.folder / "loop.yml", "Too many levels of symbolic links"),
    ]


def test_where_no_rule_loads_every_broken_file_is_named(load):
    load.write(HEAD + "detection: {s: {A: b}}", "bad.yml")
    load.write("title: other", "other.yml")
    with pytest.raises(NoRuleLoadedError) as raised:
        load_rules([load.folder])
    assert "loaded (1 files hold none); " in str(raised.value)
    assert "bad.yml: Sigma rule must contain at least one condition" in str(raised.value)


HOSTILE = {
    "ten megabytes": HEAD + "description: " + "x" * 10_000_000,
    "nested too deeply": "create_remote_thread: " + "[" * (MAX_SIZE - 100),
    "nested too deeply by lines": "".join(" " * i + "create_remote_thread:\n" for i in range(600)),
    "nots": HEAD + f"detection: {{s: {{A: b}}, condition: {'not ' * 5_000}s}}",
    "itself": HEAD + "detection: &d {s: *d, condition: s}",
    "laughs": HEAD
    + "detection:\n  a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"  {c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
    + "  condition: i",
    "tag": HEAD + "detection: !!python/object/apply:os.system ['touch /tmp/etwdetect-was-here']",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused(load, text):
    (why,) = broken(load, text)
    assert why


@pytest.mark.slow
def test_parentheses_are_no_harm(load):
    text = HEAD + f"detection: {{s: {{SourceImage: b}}, condition: '{'(' * 20_000}s{')' * 20_000}'}}"
    assert titles(load_rules([load.write(text)]), [{"SourceImage": "b"}]) == [("A rule",)]


@pytest.mark.slow
def test_many_alternatives_are_no_harm(load):
    names = [f"{number}.exe" for number in range(10_000)]
    rules = load({"SourceImage|endswith": names})
    assert titles(rules, [{"SourceImage": r"C:\9999.EXE"}, {"SourceImage": "x"}]) == [("A rule",), ()]


INJECTIONS = [
    "'; DROP TABLE record; --",
    "' OR 1=1 --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    '" OR 1=1 --',
    "` OR 1=1 --",
    "%' OR 1=1 OR 'x' LIKE '%",
    "x') OR randomblob(1000000000) OR (1=1",
    "{field}",
    "{0}",
    "SourceProcessId",
    "''",
    "\\",
]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("modifier", ["", "|contains", "|endswith", "|cased", "|contains|cased", "|neq"])
def test_no_text_of_a_rule_becomes_sql(fires, text, modifier):
    record = {"SourceProcessId": 1, "StartModule": "x"}
    escaped = text.replace("\\", "\\\\")
    assert fires({f"StartModule{modifier}": escaped}, **record) == (modifier == "|neq")
    assert fires({f"StartModule{modifier}": escaped}, StartModule=text) == (modifier != "|neq")


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_name_of_a_field_becomes_sql(load, text):
    rules = load({text: "x"})
    assert titles(rules, [{"SourceImage": "x"}, {}]) == [(), ()] or text == "SourceProcessId"
    rules = load({"SourceImage|fieldref": text})
    assert titles(rules, [{"SourceImage": "x"}, {}]) == [(), ()]


def test_a_regular_expression_does_not_become_sql(fires):
    assert not fires({"SourceImage|re": "' OR 1=1 OR '"}, SourceImage="x")
    assert fires({"SourceImage|re": "' OR 1=1 OR '"}, SourceImage="' OR 1=1 OR '")


def test_hostile_text_costs_no_time(fires):
    """A backtracking matcher would not come back."""
    text = "a" * 32_000
    assert not fires({"SourceCommandLine|re": "^(a+)+$b"}, SourceCommandLine=text)
    assert not fires({"SourceCommandLine": "*a" * 30 + "*b"}, SourceCommandLine=text)
    assert not fires({"SourceCommandLine|cased": "*a" * 30 + "*b"}, SourceCommandLine=text)


VALUES = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text() | st.lists(st.text())
SURROGATES = st.text(st.characters(categories=["Cs", "Cc", "Lu"]))


@given(st.lists(st.dictionaries(st.sampled_from(["SourceImage", "TargetProcessId", "X"]), VALUES | SURROGATES)))
def test_any_value_may_stand_in_a_record(records):
    assert len(titles(EVERY_WAY, records)) == len(records)


@given(SURROGATES | st.text())
def test_text_is_found_in_itself_whatever_it_has(text):
    record = {"SourceImage": text, "TargetImage": text}
    assert titles(EVERY_WAY, [record]) == [() if text in {"", "-"} else ("Same",)]


@pytest.fixture(scope="module", autouse=True)
def every_way(tmp_path_factory):
    """A rule that compares in every way; for hypothesis, which makes no fixtures for each example."""
    global EVERY_WAY  # noqa: PLW0603 (see above)
    path = tmp_path_factory.mktemp("rules") / "rule.yml"
    selections = {
        "same": {"SourceImage|fieldref": "TargetImage", "SourceImage|fieldref|contains": "TargetImage"},
        "other": {
            "TargetProcessId|gt": 10,
            "SourceImage|re": "x",
            "TargetProcessId|re": "x",
            "SourceImage|cased": "x*",
            "SourceImage|endswith": "x",
            "X": "x",
        },
        "keyword": ["no such word"],
        "condition": "same or other or keyword",
    }
    path.write_text(rule_text(selections, title="Same"))
    EVERY_WAY = load_rules([path])


def test_records_are_judged_each_by_itself_in_any_batch(load):
    rules = load({"SourceProcessId": 1})
    records = [{"SourceProcessId": random.Random(number).randrange(2)} for number in range(1000)]
    alone = [titles(rules, [record])[0] for record in records]
    assert titles(rules, records) == alone
    assert {(), ("A rule",)} == set(alone)
    assert titles(rules, []) == []


def test_rules_are_loaded_without_what_could_use_the_network(load):
    """pySigma asks for these packages, for parts of it that are not used here."""
    code = (
        "import pathlib, sys; from etwdetect.results.sigma import load_rules; "
        f"load_rules([pathlib.Path({str(load.write(RULE))!r})]); "
        "print(sorted({'requests', 'urllib3', 'diskcache', 'jq', 'sigma'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['sigma']\n"
