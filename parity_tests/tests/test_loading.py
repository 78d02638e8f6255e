"""Scenario files: what is read, and what is said of a wrong one."""

import contextlib
import os
import re

import pytest

from parity_tests import loading
from parity_tests.errors import NoSuchScenarioError, ScenarioError
from parity_tests.steps import AttachDebugger, CreateThread, Repeat, ThreadRef

HEAD = 'title = "A title"\nwhy = "A reason"\n'
RUNNING = "[processes]\nwindbg = { running = true }\nnotepad = { running = true }\n"


def scenario(steps="", expect="", rest=RUNNING, head=HEAD):
    return loading.parse(f"{head}steps = [{steps}]\nexpect = [{expect}]\n{rest}", "timeline")


ATTACH = '{ attach_debugger = "notepad", by = "windbg", named = "break-in", after = "1.5 s", tid = 9384 }'


def test_a_step_has_its_arguments():
    (step,) = scenario(ATTACH).steps
    assert step == AttachDebugger(
        process="notepad", by=ThreadRef("windbg"), named="break-in", after=15_000_000, tid=9384, invasive=True
    )


def test_a_thread_is_named_behind_its_process():
    rest = '[processes]\nwindbg = { running = true, threads = ["engine"] }\nnotepad = { running = true }'
    (step,) = scenario('{ attach_debugger = "notepad", by = "windbg/engine" }', rest=rest).steps
    assert step.by == ThreadRef("windbg", "engine")


def test_an_own_thread_is_made_by_its_process():
    (step,) = scenario('{ create_thread = "notepad" }').steps
    assert step == CreateThread(process="notepad", by=ThreadRef("notepad"))


def test_a_repetition_holds_steps():
    (step,) = scenario('{ repeat = 3, every = "50 us", steps = [ { create_thread = "notepad" } ] }').steps
    assert step == Repeat(times=3, every=500, steps=(CreateThread(process="notepad", by=ThreadRef("notepad")),))


def test_why_is_one_line_whatever_its_line_breaks():
    assert scenario(ATTACH, head='title = "x"\nwhy = """\na\nb  c\n"""\n').why == "a b c"


WRONG_STEPS = {
    '{ attach = "notepad" }': "step 1: must be a table with one of start_process, ",
    '{ attach_debugger = "notepad", detach = "notepad", by = "windbg" }': "step 1: must be a table with one of ",
    '"attach"': "step 1: must be a table with one of ",
    '{ attach_debugger = "notepad" }': "step 1 (attach_debugger): missing: by",
    "{ repeat = 2, steps = [] }": "step 1 (repeat): missing: every",
    '{ repeat = 2, every = "1 s", steps = 3 }': "steps = 3 must be a list",
    '{ repeat = 2, every = "1 s", steps = [] }': "steps = [] must be a list of at least one step",
    '{ repeat = 2, every = "1 s", steps = [ { attach = "x" } ] }': "step 1 (repeat), step 1: must be a table with",
    '{ repeat = 0, every = "1 s", steps = [ { exit_process = "notepad" } ] }': "times = 0 must be a number from 1",
    '{ repeat = 2, every = "1 s", steps = [ { start_detection = "both" } ] }': (
        "step 1 (repeat), 1 of 2, step 1 (start_detection): detection has started already"
    ),
    '{ attach_debugger = "notepad", by = "windbg", after = "999999999 min" }': (
        "the timeline lasts more than a year"
    ),
    '{ attach_debugger = "notepad", by = "windbg", colour = "red" }': "'colour' is not a key here; use process, ",
    '{ attach_debugger = "notepad", by = 5 }': "by = 5 must be a thread such as 'notepad' or 'notepad/worker'",
    '{ attach_debugger = "notepad", by = "a/b/c" }': "by = 'a/b/c' must be a thread such as",
    '{ exit_thread = "a/b/c" }': "step 1 (exit_thread): by = 'a/b/c' must be a thread such as",
    '{ attach_debugger = "", by = "windbg" }': "process = '' must be a name",
    '{ attach_debugger = "notepad", by = "windbg", after = "soon" }': "after = 'soon' must be a duration such as",
    '{ attach_debugger = "notepad", by = "windbg", after = 5 }': "after = 5 must be a duration such as",
    '{ attach_debugger = "notepad", by = "windbg", tid = -4 }': "tid = -4 must be a number from 1 to 4,294",
    '{ attach_debugger = "notepad", by = "windbg", tid = true }': "tid = True must be a number",
    '{ attach_debugger = "notepad", by = "windbg", invasive = 1 }': "invasive = 1 must be true or false",
    '{ attach_debugger = "notepad", by = "windbg", etw_creator = "me" }': (
        "etw_creator = 'me' must be one of 'known', 'unknown'"
    ),
    '{ attach_debugger = "notepad", by = "windbg", cpu = 1 }': "CPU 1 does not exist; the machine has 1",
    '{ repeat = 2, every = "1 s", steps = [ { break_in = "notepad", by = "windbg" } ] }': (
        "step 1 (repeat), 1 of 2, step 1 (break_in): windbg is not attached to notepad"
    ),
}


@pytest.mark.parametrize("step", WRONG_STEPS)
def test_a_wrong_step_is_named_with_what_is_wrong(step):
    with pytest.raises(ScenarioError) as error:
        scenario(step)
    assert WRONG_STEPS[step] in str(error.value)
    assert str(error.value).startswith("timeline: step 1")


STEPS = f"{HEAD}steps = [{ATTACH}]\nexpect = []"
WRONG_FILES = {
    "title = [": "timeline: is not valid TOML",
    f"title = {'9' * 5000}": "timeline: is not valid TOML",
    f"steps = {'[' * 5000}{']' * 5000}": "timeline: lists are nested too deeply",
    "": "timeline: missing: title, why, steps, expect",
    f"{HEAD}steps = []\nexpect = []": "timeline: steps = [] must be a list of at least one step",
    f"{HEAD}steps = 5\nexpect = []": "timeline: steps = 5 must be a list",
    f'title = "x"\nwhy = ""\nsteps = [{ATTACH}]\nexpect = []': "timeline: why = '' must be text",
    f"{HEAD}steps = [{ATTACH}]": "timeline: missing: expect",
    f"{HEAD}steps = [{ATTACH}]\nexpect = 5": "timeline: expect = 5 must be a list",
    f"{STEPS}\nplot = 1": "timeline: 'plot' is not a key here; use title, ",
    f'{STEPS}\nname = "x"': "timeline: 'name' is not a key here",
    f"{STEPS}\nbegins = 5": "begins = 5 must be a time of day such as 13:08:15.280",
    f"{STEPS}\nmachine = 5": "machine: must be a table",
    f"{STEPS}\nprocesses = 5": "processes = 5 must be a table",
    f"{STEPS}\n[machine]\ncpus = 0": "machine: cpus = 0 must be a number from 1 to 256",
    f"{STEPS}\n[processes]\nSystem = {{}}": "process System: System always exists, with the id 4",
    f"{STEPS}\n[processes]\na = 5": "process a: must be a table",
    f"{STEPS}\n[processes]\na = {{ threads = 5 }}": "process a: threads = 5 must be a list of names",
    f"{STEPS}\n[processes]\na = {{ threads = [[]] }}": "process a: threads = [[]] must be a list of names",
    f"{STEPS}\n[processes]\na = {{ threads = {{ x = 0 }} }}": "process a: threads = {'x': 0} must be a list",
    f"{STEPS}\n[processes]\na = {{ image = '{'a' * 101}' }}": "a: image = 'aaaaaaaaaaaa...aaaaaaaaaaaaa' must be",
    f"{STEPS}\n[processes]\na = {{ pid = 4, running = true }}": "timeline: the id of a, 4, is in use",
    f"{STEPS}\n[processes]\na = {{ pid = 0 }}": "process a: pid = 0 must be a number from 1",
}


@pytest.mark.parametrize("text", WRONG_FILES)
def test_a_wrong_file_is_named_with_what_is_wrong(text):
    with pytest.raises(ScenarioError) as error:
        loading.parse(text, "timeline")
    assert WRONG_FILES[text] in str(error.value)


WRONG_EXPECTATIONS = {
    "5": "expect 1: must be a table",
    "{}": "expect 1: missing: thread_in, made_by",
    '{ thread_in = "notepad" }': "expect 1: missing: made_by",
    '{ thread_in = "notepad/a/b", made_by = "windbg" }': "expect 1: thread_in = 'notepad/a/b' must be a thread",
    '{ thread_in = "notepad", made_by = "windbg", thread = "x" }': "expect 1: 'thread' is not a key here",
    '{ thread_in = "calc", made_by = "windbg" }': "expect 1: there is no process calc in the scenario",
    '{ thread_in = "notepad/x", made_by = "windbg" }': "expect 1: there is no thread notepad/x in the scenario",
    '{ thread_in = "notepad", made_by = "windbg/x" }': "expect 1: there is no thread windbg/x in the scenario",
    '{ thread_in = "notepad", made_by = "windbg", kind = "odd" }': (
        "expect 1: kind = 'odd' must be one of 'debugger break-in', "
    ),
    '{ thread_in = "notepad", made_by = "windbg", only = "me" }': "only = 'me' must be one of 'etw', 'driver'",
    '{ thread_in = "notepad", made_by = "windbg", times = 0 }': "expect 1: times = 0 must be a number from 1",
}


@pytest.mark.parametrize("entry", WRONG_EXPECTATIONS)
def test_a_wrong_expectation_is_named_with_what_is_wrong(entry):
    with pytest.raises(ScenarioError) as error:
        scenario(ATTACH, expect=entry)
    assert WRONG_EXPECTATIONS[entry] in str(error.value)


def test_what_the_published_driver_reports_is_checked_too():
    with pytest.raises(ScenarioError, match="book_driver, reports 1: missing: made_by"):
        scenario(ATTACH, rest=f'{RUNNING}[book_driver]\nwhy = "x"\nreports = [ {{ thread_in = "notepad" }} ]')
    rest = f'{RUNNING}[book_driver]\nwhy = "x"\nreports = [ {{ thread_in = "calc", made_by = "windbg" }} ]'
    with pytest.raises(ScenarioError, match="book_driver, reports 1: there is no process calc"):
        scenario(ATTACH, rest=rest)


SHIPPED = sorted(loading.DEFAULT_FOLDER.glob("*.toml"))


@pytest.mark.parametrize("value", ["5", "-1", "[]", "{}", "true", '""', '"\\u0000"', "[5]", "1979-05-27", "nan"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_any_value_of_a_wrong_type_is_told_and_nothing_else_happens(path, value):
    text = re.sub(r"repeat = \d+", "repeat = 2", path.read_text())
    for place in re.finditer(r'(?<== )("[^"\n]*"|\d+|true|\[.*\]|\{.*\})(?=[,\n ])', text):
        with contextlib.suppress(ScenarioError):
            loading.parse(text[: place.start()] + value + text[place.end() :], "timeline")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_any_missing_line_is_told_and_nothing_else_happens(path):
    lines = re.sub(r"repeat = \d+", "repeat = 2", path.read_text()).splitlines()
    for place in range(len(lines)):
        with contextlib.suppress(ScenarioError):
            loading.parse("\n".join((*lines[:place], *lines[place + 1 :])), "timeline")


def test_scenarios_are_found_by_name_and_all_of_them_without(tmp_path):
    for name in ("b", "a"):
        text = f"{HEAD}steps = [{ATTACH}]\nexpect = []\n{RUNNING}"
        (tmp_path / f"{name}.toml").write_text(text)
    assert [each.name for each in loading.find(tmp_path)] == ["a", "b"]
    assert [each.name for each in loading.find(tmp_path, ["b"])] == ["b"]
    with pytest.raises(NoSuchScenarioError, match="there is no scenario 'c'"):
        loading.find(tmp_path, ["c"])


def test_a_folder_without_scenarios_and_no_folder_are_told(tmp_path):
    with pytest.raises(NoSuchScenarioError, match="has no scenario"):
        loading.find(tmp_path)
    with pytest.raises(NoSuchScenarioError, match="--scenarios FOLDER"):
        loading.find(tmp_path / "none")


def test_a_file_that_is_no_text_is_told_by_its_name(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match=r"^a\.toml: cannot be read"):
        loading.find(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ScenarioError, match=r"^a\.toml: cannot be read: is larger than 262,144 bytes"):
        loading.find(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_pipe_and_a_folder_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.toml")
    (tmp_path / "b.toml").mkdir()
    for name in ("a", "b"):
        with pytest.raises(ScenarioError, match=r"cannot be read: not a file$"):
            loading.find(tmp_path, [name])


def test_what_takes_tomllib_quadratic_time_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text("a" + ".a" * 100_000 + " = 1")
    with pytest.raises(ScenarioError, match="line 1 has more than 500 dots"):
        loading.find(tmp_path)


def test_more_expected_threads_than_events_can_be_are_refused():
    expect = '{ thread_in = "notepad", made_by = "windbg", times = 100000 },' * 5
    with pytest.raises(ScenarioError, match="more than 400,000 remote threads are expected"):
        scenario(steps=ATTACH, expect=expect)
