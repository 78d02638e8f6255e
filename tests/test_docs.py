"""The pages: links lead somewhere, commands run and print what is shown, names and options exist."""

import contextlib
import functools
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

import etwdetect
from etwdetect.cli import main
from etwdetect.cli.status import Status

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "README.md"
REFERENCE = ROOT / "docs" / "reference"
FOLDERS = "benchmarks", "docs", "driver", "etwdetect", "parity_tests", "samples", "simetw", "tests", "tools"
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
LONGEST = 300

FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}.*)?\n)+")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|&& )(?:[$>] )?(?:python -m )?etwdetect (\S.*)")
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def text_of(page):
    return page.read_text("utf-8")


def prose_of(page):
    """The text of a page without its blocks of code."""
    return INDENTED.sub("\n", FENCE.sub("", text_of(page)))


def blocks_of(page, form=None):
    """What is inside the fenced blocks of a page: all of them, or those marked as *form*."""
    return [block for _, marked, block in FENCE.findall(text_of(page)) if form in (None, marked)]


def spans_of(page):
    return SPAN.findall(prose_of(page))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# -- links


def links_of(page):
    """Each link to another place of the repository: the file, and the heading in it or an empty text."""
    for target in LINK.findall(SPAN.sub("", prose_of(page))):
        if "://" not in target:
            path, _, heading = target.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


@functools.cache
def headings_of(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    plain = (LINK.sub(lambda link: link[0][1:].partition("]")[0], heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for path, heading in links_of(page):
        if not path.exists() or (heading and heading not in headings_of(path)):
            dead.append(f"{os.path.relpath(path, ROOT)}#{heading}")
    assert dead == []


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [INDEX]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [path for path, _ in links_of(page)]
    assert {name_of(page) for page in (ROOT / "docs").rglob("*.md")} <= {name_of(page) for page in reached}


def test_the_readme_has_no_link_into_the_repository():
    """PyPI shows it alone, where such a link leads nowhere."""
    assert list(links_of(ROOT / "README.md")) == []


@pytest.mark.parametrize("page", [*(ROOT / "docs").rglob("*.md")], ids=name_of)
def test_no_page_is_too_long(page):
    assert len(text_of(page).splitlines()) <= LONGEST


# -- paths

PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[a-z0-9_./-]*", re.IGNORECASE)


in_the_new_layout = pytest.mark.skipif(
    not (ROOT / "etwdetect" / "core").is_dir(), reason="the code is not in the layout of the pages yet"
)


@in_the_new_layout
@each_page
def test_every_path_that_a_page_names_exists(page):
    named = {span for span in spans_of(page) if PATH.fullmatch(span) and "NAME" not in span}
    assert {path for path in named if not (ROOT / path).exists()} == set()


@in_the_new_layout
def test_every_page_that_the_code_names_exists():
    code = [
        path
        for folder in (*FOLDERS, ".github")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".toml", ".yml", ".cpp", ".h"} and path != Path(__file__)
    ]
    named = {(name_of(path), page) for path in code for page in re.findall(r"\bdocs/[\w/-]+\.md", text_of(path))}
    assert named
    assert {(path, page) for path, page in named if not (ROOT / page).is_file()} == set()


def test_every_page_that_the_readme_names_exists():
    named = [span for span in spans_of(ROOT / "README.md") if span.endswith(".md")]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


# -- commands


def run(folder, *arguments):
    """Run `etwdetect` with *arguments* in *folder*."""
    return subprocess.run(
        [sys.executable, "-m", "etwdetect", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}, capture_output=True,
        encoding="utf-8", check=False,
    )  # fmt: skip


@functools.cache
def help_of(*command):
    """What `etwdetect COMMAND --help` prints; None where there is no such command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        status = main([*command, "--help"])
    return printed.getvalue() if status == Status.DONE else None


@functools.cache
def commands_of(*group):
    _, _, listed = (help_of(*group) or "").partition("\nCommands:\n")
    return re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE)


def all_commands(*group):
    """Every command that is no group, as its words."""
    for name in commands_of(*group):
        if commands_of(*group, name):
            yield from all_commands(*group, name)
        else:
            yield (*group, name)


def options_of(*command):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(*command) or ""))


def command_lines(page):
    """Each command line of etwdetect that a page shows, in blocks and in its sentences."""
    code = [*blocks_of(page), *INDENTED.findall(FENCE.sub("", text_of(page)))]
    for line in (line.strip() for block in code for line in block.splitlines()):
        yield from COMMAND.findall(line)
    yield from (span.removeprefix("etwdetect ") for span in spans_of(page) if span.startswith("etwdetect "))


def wrong_in(line):
    """What of a command line is no command or no option, as far as it is written out."""
    words = [word for word in shlex.split(line, comments=True) if word]
    if "|" in words:
        words = words[: words.index("|")]
    command = []
    while words and commands_of(*command) and not words[0].startswith("-"):
        if words[0] in ("…", "COMMAND"):
            return set()
        command.append(words.pop(0))
    if help_of(*command) is None:
        return {" ".join(command)}
    return {found[0] for word in words if (found := OPTION.match(word.strip("[]…")))} - options_of(*command)


@each_page
def test_every_command_and_option_that_a_page_shows_exists(page):
    wrong = {line: found for line in command_lines(page) if (found := wrong_in(line))}
    assert wrong == {}


@pytest.mark.parametrize(
    "line",
    ["scam trace.etl", "scan trace.etl --jion", "driver watched", "scan [--jion]", "scan t.etl -x | jq --joined"],
)
def test_this_test_sees_a_command_or_option_that_does_not_exist(line):
    assert wrong_in(line)


def test_this_test_finds_the_commands_of_a_page():
    assert "scan samples/quiet.etl --utc" in set(command_lines(ROOT / "docs" / "user" / "first-scan.md"))
    assert "driver start" in set(command_lines(ROOT / "docs" / "user" / "parity-vm.md"))


def test_every_option_is_on_some_page():
    pages = "\n".join(text_of(page) for page in PAGES)
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", pages))
    options = {name for command in all_commands() for name in options_of(*command) if name.startswith("--")}
    assert options - shown - {"--help"} == set()


def test_the_readme_lists_every_command():
    listed = re.findall(r"^\| `([a-z]+)", text_of(ROOT / "README.md"), re.MULTILINE)
    assert sorted(listed) == commands_of()


# -- what they print


class Example(NamedTuple):
    """A command line of a page's `console` block, and what is shown below it."""

    line: str
    shown: str


def examples_of(block):
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    return [Example(line, shown) for line, shown in zip(parts[1::2], parts[2::2], strict=True)]


CONSOLES = [(page, block) for page in PAGES for block in blocks_of(page, "console")]


def looks_like(shown, printed):
    """Whether a page's *shown* output is what was *printed*; a line of three dots stands for any lines."""
    pattern = "".join(
        "(?:.*\n)*" if line == "...\n" else re.escape(line) for line in shown.splitlines(keepends=True)
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the repository's samples in it, where commands may leave files behind."""
    made = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "samples", made / "samples", copy_function=shutil.copyfile)  # Wine 8 lacks copy2's
    return made


@pytest.mark.parametrize(
    ("page", "block"), CONSOLES, ids=[f"{name_of(page)}-{number}" for number, (page, _) in enumerate(CONSOLES)]
)
def test_a_command_prints_what_its_page_shows(page, block, folder):  # noqa: ARG001 (the page is in the test's name)
    status = Status.DONE
    for line, shown in examples_of(block):
        if line == "echo $?":
            printed = f"{int(status)}\n"
        else:
            program, *arguments = shlex.split(line)
            assert program == "etwdetect"
            done = run(folder, *arguments)
            status, printed = done.returncode, done.stdout + done.stderr
            printed = printed.replace(f"samples{os.sep}", "samples/")
        assert looks_like(shown, printed), f"{line} prints:\n{printed}"


def test_there_are_examples():
    assert len(CONSOLES) >= 5


def test_other_output_than_shown_is_noticed():
    assert looks_like("a\n...\nd\n", "a\nb\nc\nd\n")
    assert not looks_like("a\nb\n", "a\nc\n")
    assert not looks_like("a\n", "a\nb\n")


def test_the_rules_for_kinds_that_a_page_shows_can_be_used(folder):
    (rules,) = blocks_of(ROOT / "docs" / "user" / "kinds.md", "toml")
    (folder / "rules.toml").write_text(rules, "utf-8")
    done = run(folder, "explain", "samples/windbg-attach.etl", "--rules", "rules.toml")
    assert done.returncode == Status.DONE, done.stderr
    assert "our profiler (rules.toml): missed" in done.stdout


# -- reference

API = text_of(REFERENCE / "python-api.md")


def test_the_python_shown_runs(folder):
    shown = [block for block in blocks_of(REFERENCE / "python-api.md", "python") if "samples/" in block]
    assert shown
    for block in shown:
        subprocess.run(
            [sys.executable, "-c", block], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
        )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(etwdetect(?:\.\w+)+)", API))))
def test_every_name_on_the_page_of_the_api_exists(name):
    if name.startswith("etwdetect.fleet") and find_spec("pyspark") is None:
        pytest.skip("pyspark is missing, of the extra etwdetect[spark]")
    module, attributes = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        found = getattr(found, attribute)


def test_the_page_of_the_api_has_every_public_name():
    errors = importlib.import_module(re.search(r"`([\w.]+)\.EtwDetectError`", API)[1])
    exceptions = {name for name, value in vars(errors).items() if isinstance(value, type)}
    shown = set(re.findall(r"`etwdetect\.(?:\w+\.)*(\w+)", API))
    assert len(exceptions) > 1
    assert {*etwdetect.__all__, *exceptions} - shown == set()


def test_the_page_of_the_api_has_every_field_of_a_remote_thread():
    (thread, *_) = etwdetect.scan(ROOT / "samples" / "windbg-attach.etl")
    first_columns = re.findall(r"^\| ([a-z_, ]+) \|", API, re.MULTILINE)
    assert set(thread._fields) <= {name for cell in first_columns for name in cell.split(", ")}


def test_the_page_of_fields_has_every_field_of_a_record_in_order(folder):
    header = run(folder, "scan", "samples/quiet.etl", "--format", "csv").stdout.splitlines()[0]
    shown = re.findall(
        r"^\| ([A-Z]\w+) \| (?:string|number|list|object)", text_of(REFERENCE / "fields.md"), re.MULTILINE
    )
    assert shown == header.removeprefix("\ufeff").split(",")


def test_the_page_of_formats_has_a_row_and_a_section_for_each():
    formats = re.search(r"--format \[([a-z|-]+)\]", help_of("scan"))[1].split("|")
    page = text_of(REFERENCE / "formats.md")
    assert re.findall(r"^\| \[([\w-]+)\]\(#[\w-]+\)", page, re.MULTILINE) == formats
    assert set(formats) <= headings_of(REFERENCE / "formats.md")


def test_the_page_of_exit_statuses_has_each():
    shown = re.findall(r"^\| (\d+) \|", text_of(REFERENCE / "exit-status.md"), re.MULTILINE)
    assert shown == [str(int(status)) for status in Status]


def test_the_pages_of_kinds_have_each_built_in_kind():
    built_in = re.findall(r'^kind = "(.+)"$', text_of(ROOT / "etwdetect" / "enrich" / "kinds.toml"), re.MULTILINE)
    kinds = set(built_in) - {"unknown"}
    for page in (REFERENCE / "kinds.md", ROOT / "docs" / "user" / "kinds.md", ROOT / "docs" / "user" / "hits.md"):
        assert {kind for kind in kinds if kind not in text_of(page)} == set()
