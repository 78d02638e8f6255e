"""--sigma: names of rules on what is shown, and what is said of rules that are of no use."""

import json
import os
import sys

import click
import pytest

from etwdetect.cli.results import Choices, Results
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.filters import Filter
from tests.conftest import ROOT
from tests.results.sigma.conftest import rule_text

SAMPLE = ROOT / "samples" / "windbg-attach.etl"


def not_on_windows(why):
    return pytest.mark.skipif(sys.platform == "win32", reason=f"Windows {why}")


@pytest.fixture
def rules(tmp_path):
    """A directory for rules, and the way to put one there."""

    def write(detection, name="rule.yml", **more):
        (tmp_path / name).write_text(rule_text(detection, **more))
        return tmp_path

    return write


def lines(finished):
    return finished.out.splitlines()


def test_the_rules_that_fire_are_named_in_text_and_json(etwdetect, rules):
    folder = rules({"SourceThreadId": 4788}, "1.yml", title="First attach")
    rules({"SourceImage|endswith": r"\WINDBG.exe"}, "2.yml", title="A debugger")
    done = etwdetect("scan", SAMPLE, "--utc", "--sigma", folder)
    assert done.status == 0
    assert [line.partition("Sigma: ")[2] for line in lines(done)] == ["First attach; A debugger", "A debugger"]
    done = etwdetect("scan", SAMPLE, "--format", "json", "--sigma", folder / "1.yml", "--sigma", folder / "2.yml")
    assert [json.loads(line)["Sigma"] for line in lines(done)] == [["First attach", "A debugger"], ["A debugger"]]


def test_live_results_are_judged_at_once(rules, capsys):
    results = Results(Choices(sigma=(rules({"SourceProcessId": 1}),)), Filter())
    thread = RemoteThread(132_337_152_000_000_000, 1, 2, 3, 4)
    with results.open(live=True):
        results.show(Detection(thread, "etw", Process(1), Process(3)))
        assert capsys.readouterr().out.endswith("Sigma: A rule\n")


def test_rules_change_nothing_else(etwdetect, rules):
    plain = etwdetect("scan", SAMPLE, "--format", "json")
    judged = etwdetect("scan", SAMPLE, "--format", "json", "--sigma", rules({"SourceProcessId": 1}))
    assert judged.out == plain.out
    assert judged.status == plain.status


@not_on_windows("has no such names")
def test_a_broken_rule_is_told_and_the_others_are_used(etwdetect, rules):
    folder = rules({"SourceThreadId": 4788})
    (folder / "bad\x1b[2J.yml").write_text("create_remote_thread: [")
    (folder / "other.yml").write_text("title: of another kind")
    done = etwdetect("scan", SAMPLE, "--sigma", folder)
    assert done.status == 0
    assert lines(done)[0].endswith("Sigma: A rule")
    assert "bad\\x1b[2J.yml is left out: while parsing a flow node" in done.err
    assert "etwdetect: --sigma: files without a rule for remote threads: 1, skipped" in done.err


def test_without_any_rule_nothing_is_read(etwdetect, rules):
    folder = rules({"SourceImage|gt": 5})
    done = etwdetect("scan", SAMPLE, "--sigma", folder)
    assert (done.status, done.out) == (2, "")
    assert "rule.yml: SourceImage is text, and only numbers can be compared by size" in done.err


def test_rules_that_are_not_there_are_a_wrong_use(etwdetect, tmp_path):
    done = etwdetect("scan", SAMPLE, "--sigma", tmp_path / "none")
    assert (done.status, done.out) == (2, "")


def test_a_rule_that_asks_for_what_no_record_has_is_named_once(etwdetect, rules):
    folder = rules({"ParentOfTheUser": "x"})
    done = etwdetect("scan", SAMPLE, SAMPLE, "--sigma", folder)
    said = f"the Sigma rule 'A rule' ({folder / 'rule.yml'}) can't fire here for lack of ParentOfTheUser"
    assert done.err.splitlines().count(f"etwdetect: {said}") == 1


def test_a_saved_result_is_judged_too_and_keeps_the_names_it_has(etwdetect, rules, tmp_path):
    saved = tmp_path / "saved.json"
    folder = rules({"SourceThreadId": 4788}, "1.yml", title="First attach")
    assert etwdetect("scan", SAMPLE, "--format", "json", "--sigma", folder, "-o", saved).status == 0
    rules({"SourceThreadId": 4788}, "1.yml", title="Another name")
    rules({"ParentOfTheUser": "x"}, "2.yml", title="Never")
    done = etwdetect("scan", saved, "--sigma", folder)
    assert [line.partition("Sigma: ")[2] for line in lines(done)] == ["First attach; Another name", ""]
    assert "'Never' (" in done.err


def test_a_rule_that_asks_for_what_this_trace_does_not_tell_is_named(etwdetect, rules):
    """The sample is of Microsoft-Windows-Kernel-Process, which has no command lines."""
    folder = rules({"SourceCommandLine|contains": "x"}, "1.yml", title="Command line")
    rules({"StartFunction": "DbgUiRemoteBreakin"}, "2.yml", title="Function")
    rules({"StartModule|contains": "ntdll"}, "3.yml", title="Module")
    done = etwdetect("scan", SAMPLE, "--sigma", folder)
    assert "'Command line' (" in done.err
    assert "can't fire here for lack of SourceCommandLine" in done.err
    assert "can't fire here for lack of StartFunction" in done.err
    assert "'Module'" not in done.err


@not_on_windows("has no file that is standard error")
def test_a_rule_that_nothing_can_fire_is_named_before_the_first_result(etwdetect, rules):
    folder = rules({"SourceCommandLine|contains": "x"})
    done = etwdetect("scan", SAMPLE, "--sigma", folder, "-o", "/dev/stderr")
    assert done.err.index("for lack of") < done.err.index("Remote Thread from")


@pytest.mark.skipif(sys.platform == "win32", reason="the Python of the Windows lab does not read PYTHONPATH")
def test_without_the_extra_one_sentence_says_what_to_install(etwdetect, rules, tmp_path):
    """A module that is no package stands where pySigma would be."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sigma.py").write_text("")
    done = etwdetect(
        "scan", SAMPLE, "--sigma", rules({"SourceProcessId": 1}), env={**os.environ, "PYTHONPATH": str(hidden)}
    )
    assert (done.status, done.out) == (5, "")
    assert done.err.startswith("etwdetect: --sigma needs pySigma")
    assert done.err.endswith("pip install 'etwdetect[sigma]'\n")
    assert len(done.err.splitlines()) == 1
    assert etwdetect("scan", SAMPLE, env={**os.environ, "PYTHONPATH": str(hidden)}).status == 0


def test_a_rule_that_asks_for_a_path_is_named_once_with_the_first_record_that_has_a_bare_name(rules, capsys):
    results = Results(Choices(sigma=(rules({"SourceImage|endswith": "\\x\\a.exe"}),)), Filter())
    thread = RemoteThread(132_337_152_000_000_000, 1, 2, 3, 4)
    with results.open():
        for image in ("C:\\a.exe", "System", None):
            results.show(Detection(thread, "etw", Process(1, image), Process(3)))
        assert capsys.readouterr().err == ""
        for _ in range(2):
            results.show(Detection(thread, "etw", Process(1, "a.exe"), Process(3, "b.exe")))
        (told,) = capsys.readouterr().err.splitlines()
    assert "the Sigma rule 'A rule' (" in told
    assert told.endswith(") can't fire where SourceImage has no path")


def severities(done):
    return [json.loads(line).get("Severity") for line in lines(done)]


@pytest.mark.slow
def test_a_level_raises_the_severity_and_what_is_below_one_is_filtered_out(etwdetect, rules):
    folder = rules({"SourceThreadId": 4788}, title="First attach", level="critical", tags=["attack.t1055"])
    scan = "scan", SAMPLE, "--format", "json", "--sigma", folder
    before = severities(etwdetect("scan", SAMPLE, "--format", "json"))
    assert severities(etwdetect(*scan)) == ["critical", before[1]]
    assert severities(etwdetect(*scan, "--keep-severity")) == before
    done = etwdetect(*scan, "--min-severity", "critical", "--exit-code")
    assert (severities(done), done.status) == (["critical"], 10)
    assert "(1 filtered out)" in done.err
    done = etwdetect(*scan, "--keep-severity", "--min-severity", "critical", "--exit-code")
    assert (done.out, done.status) == ("", 0)
    assert "(2 filtered out)" in done.err


def test_rules_below_a_level_are_counted(etwdetect, rules):
    folder = rules({"SourceThreadId": 4788}, "1.yml", title="Low", level="low")
    rules({"SourceThreadId": 4788}, "2.yml", title="High", level="high")
    done = etwdetect("scan", SAMPLE, "--sigma", folder, "--min-level", "medium")
    assert lines(done)[0].endswith("Sigma (high): High")
    assert "rules below medium, or without a level: 1, left out" in done.err


def test_a_rule_with_odd_metadata_is_used_and_that_is_told(etwdetect, rules):
    done = etwdetect("scan", SAMPLE, "--sigma", rules({"SourceThreadId": 4788}, tags=["sysmon"], status="odd"))
    assert "Sigma: A rule" in lines(done)[0]
    assert "rule.yml is used, but for its metadata: 'odd' is not a valid Sigma rule status; " in done.err


@pytest.mark.parametrize("command", ["report", "explain"])
def test_a_severity_is_a_filter_of_every_command_that_shows_results(etwdetect, tmp_path, command):
    output = ("-o", tmp_path / "page.html") if command == "report" else ()
    done = etwdetect(command, SAMPLE, *output, "--min-severity", "critical")
    assert done.status == 0
    assert "(2 filtered out)" in done.err


def test_live_results_cannot_be_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    results = Results(Choices(form="parquet", output=tmp_path / "a.parquet"), Filter())
    with pytest.raises(click.UsageError, match="can be read only at the end"), results.open(live=True):
        pass
