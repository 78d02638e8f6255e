"""The service's configuration file, and its commands on another system."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.cli import config_file
from etwdetect.cli.config_file import ConfigError


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a configuration with this text."""

    def read(text):
        path = tmp_path / "service.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return config_file.arguments(path)

    return read


OUT = "output = '/var/hits.json'\n" if sys.platform != "win32" else "output = 'C:\\hits.json'\n"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("rotate = 100", ["--rotate=100"]),
        ("rotate = 0.5", ["--rotate=0.5"]),
        ("kernel-logger = true", ["--kernel-logger"]),
        ("kernel-logger = false", []),
        ("fold = true", ["--fold"]),
        ("fold = 30", ["--fold=30"]),
        ('to = ["eventlog:", "udp://127.0.0.1:9"]', ["--to=eventlog:", "--to=udp://127.0.0.1:9"]),
        ("source-pid = [4, 8]", ["--source-pid=4", "--source-pid=8"]),
    ],
)
def test_each_key_is_an_option(read, text, arguments):
    if "udp" in text:
        text, arguments = (
            text.replace("udp:", "syslog+udp:"),
            [each.replace("udp:", "syslog+udp:") for each in arguments],
        )
    assert read(OUT + text)[1:] == arguments


def test_a_byte_order_mark_and_windows_line_ends_are_taken(read):
    assert read(b"\xef\xbb\xbf" + OUT.replace("\n", "\r\n").encode())[0].startswith("--output=")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a service needs an output, or a sink in to"),
        ("output = 'hits.json'", "output must be an absolute path"),
        (OUT + "events = 'all.jsonl'", "events must be an absolute path"),
        (OUT + "colour = true", "No such option '--colour'"),
        (OUT + "rotate = 'much'", "Invalid value for '--rotate'"),
        (OUT + "rotate = true", "requires an argument"),
        (OUT + "duration = 5", "duration is no option of a configuration"),
        (OUT + "help = true", "help is no option of a configuration"),
        (OUT + "'-o' = 'x'", "-o is no option of a configuration"),
        (OUT + "[rotate]\nsize = 1", "rotate must be text, a number, true or false, or a list of these"),
        (OUT + "to = [['x']]", "to must be text, a number, true or false, or a list of these"),
        (OUT + "since = 2026-11-23T13:08:15", "since must be text, a number, true or false, or a list of these"),
        (OUT + "rotate = ", "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        (b"a = " + b"[" * 100_000, ""),
        (b"#" * (1 << 20) + b"#", "is larger than"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(read, text, complaint):
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert "service.toml" in str(raised.value)
    assert complaint in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: "):
        config_file.arguments(tmp_path / "none.toml")


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("config") / "service.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        config_file.arguments(path)


def test_the_first_configuration_is_one_that_is_taken(tmp_path):
    path = tmp_path / "service.toml"
    config_file.write_default(path)
    if sys.platform != "win32":  # where a path has slashes
        path.write_text(path.read_text().replace("\\", "/"))
    assert config_file.arguments(path)[0] == "--format=json"


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
@pytest.mark.parametrize("command", ["install", "uninstall", "start", "stop", "status"])
def test_elsewhere_each_command_explains_itself(etwdetect, command):
    ran = etwdetect("service", command)
    sentence = f"etwdetect: the etwdetect service requires Windows; this system is {sys.platform}\n"
    assert (ran.status, ran.out, ran.err) == (5, "", sentence)
