"""What all commands share: --quiet, --version, completion; and the configuration file of `monitor`."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from etwdetect._version import __version__
from etwdetect.cli import COMMANDS, _etwdetect
from etwdetect.cli.config_file import ConfigError, config_option

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_printed(etwdetect, option):
    assert etwdetect(option).out == f"etwdetect, version {__version__}\n"


@pytest.mark.parametrize("quiet", [("-q", "scan"), ("scan", "-q"), ("scan", "--quiet")], ids=" ".join)
def test_quiet_leaves_out_the_counts_and_keeps_the_results(etwdetect, quiet):
    loud = etwdetect("scan", SAMPLE)
    assert loud.err
    done = etwdetect(*quiet, SAMPLE)
    assert (done.out, done.err, done.status) == (loud.out, "", loud.status)
    assert etwdetect("scan", SAMPLE).err, "the next command is not quiet"


def test_quiet_says_what_is_wrong(etwdetect, tmp_path):
    (tmp_path / "a.etl").write_bytes(b"no trace")
    done = etwdetect("scan", "-q", tmp_path / "a.etl")
    assert done.status == 1
    assert "a.etl" in done.err


def commands_of(group, *names):
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*names, name), command
        if isinstance(command, click.Group) and name != "parity":  # whose commands load the parity tests
            yield from commands_of(command, *names, name)


def test_every_command_can_be_quiet():
    for names, command in commands_of(_etwdetect):
        options = [option for each in command.params for option in each.opts]
        assert options.count("-q") == 1, names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_completion_script(shell):
    environment = {**os.environ, "_ETWDETECT_COMPLETE": f"{shell}_source"}
    code = "import sys; from etwdetect.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "_ETWDETECT_COMPLETE" in done.stdout


def test_commands_and_values_of_options_are_completed():
    def completed(*words):
        environment = {
            **os.environ,
            "_ETWDETECT_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("etwdetect", *words)),
            "COMP_CWORD": str(len(words)),
        }
        code = "import sys; from etwdetect.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("") == list(COMMANDS)
    assert completed("scan", "--format", "sysmon") == ["sysmon", "sysmon-event"]
    assert "--min-level" in completed("scan", "--min")


@pytest.fixture
def run(tmp_path):
    """Run a command with --config, of the given options and *text* in the file; return its values."""

    def ask(text, *arguments):
        @config_option
        @click.command()
        @click.option("--to", multiple=True)
        @click.option("--keep", type=int, default=9)
        @click.option("--users/--no-users", default=True)
        @click.option("--strict", is_flag=True)
        @click.option("--fold", type=float, is_flag=False, flag_value=60.0)
        def command(**values):
            return values

        path = tmp_path / "monitor.toml"
        path.write_text(text, "utf-8")
        return command.main(["--config", str(path), *arguments], standalone_mode=False)

    return ask


def test_the_options_of_the_file_are_those_of_the_command(run):
    text = "to = ['a:', 'b:']\nkeep = 3\nno-users = true\nstrict = true\nfold = 5\n"
    assert run(text) == {"to": ("a:", "b:"), "keep": 3, "users": False, "strict": True, "fold": 5.0}
    assert run("") == {"to": (), "keep": 9, "users": True, "strict": False, "fold": None}


def test_the_command_line_replaces_what_the_file_says(run):
    text = "to = ['a:', 'b:']\nkeep = 3\nno-users = true\n"
    values = run(text, "--to", "c:", "--keep", "4", "--users")
    assert values == {"to": ("c:",), "keep": 4, "users": True, "strict": False, "fold": None}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = true", "No such option"),
        ("config = 'x'", "config is no option of a configuration"),
        ("keep = ", "is not valid TOML"),
        ("keep = {}", "keep must be text, a number, true or false, or a list of these"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(run, text, complaint):
    with pytest.raises(ConfigError, match=r"monitor\.toml") as raised:
        run(text)
    assert complaint in str(raised.value)


def test_a_value_of_the_file_is_checked_as_on_the_command_line(run):
    with pytest.raises(click.BadParameter, match="'many' is not a valid integer"):
        run("keep = 'many'")


def test_monitor_takes_a_configuration(etwdetect, tmp_path):
    done = etwdetect("monitor", "--config", tmp_path / "none.toml")
    assert done.status == 1
    assert "none.toml cannot be read" in done.err
