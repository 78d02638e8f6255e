"""The formats of results, a row for each; the module that a format is in is loaded when it is used.

A new format takes its module here, its row in the table, a test and a line in docs/reference/formats.md.
"""

from __future__ import annotations

import importlib
from enum import Enum
from typing import Any, Final, NamedTuple


class Form(Enum):
    """What a format's module has for it."""

    LINE = "a function that returns the line of a detection"
    TIMED_LINE = "the same, which is given the reader's clock too"
    TABLE = "a Writer, made for a stream, with or without a heading"
    FILE = "a FileWriter, made for a path: no stream can take this format"
    WHOLE_FILE = "the same, whose file is there only once it is closed: no live results"


class Format(NamedTuple):
    """A format: the *module* below etwdetect.results that writes it, and what is called *entry* there."""

    form: Form
    module: str
    entry: str

    def load(self) -> Any:  # noqa: ANN401 (what `form` says)
        """Import the module and return the entry."""
        return getattr(importlib.import_module(f"etwdetect.results.{self.module}"), self.entry)


FORMATS: Final = {
    "text": Format(Form.TIMED_LINE, "formats.text", "text_line"),
    "classic": Format(Form.TIMED_LINE, "formats.text", "classic_line"),
    "json": Format(Form.LINE, "record", "to_json"),
    "sysmon": Format(Form.LINE, "formats.sysmon", "to_sysmon"),
    "sysmon-event": Format(Form.LINE, "formats.sysmon", "to_sysmon_event"),
    "ecs": Format(Form.LINE, "formats.ecs", "to_ecs"),
    "ocsf": Format(Form.LINE, "formats.ocsf", "to_ocsf"),
    "timesketch": Format(Form.LINE, "formats.timesketch", "to_timesketch"),
    "csv": Format(Form.TABLE, "formats.delimited", "CsvWriter"),
    "parquet": Format(Form.WHOLE_FILE, "formats.parquet", "ParquetWriter"),
    "sqlite": Format(Form.FILE, "formats.sqlite", "DatabaseWriter"),
}
"""By name, in the order in which the command line lists them."""


def needs_a_file(name: str) -> bool:
    """Whether only a file, and no stream, can take the format called *name*."""
    return FORMATS[name].form in {Form.FILE, Form.WHOLE_FILE}


def takes_live_results(name: str) -> bool:
    """Whether what is written in the format called *name* can be read before the end."""
    return FORMATS[name].form is not Form.WHOLE_FILE
