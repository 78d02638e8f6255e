"""The table of fields: what it says of each is what the formats do."""

import functools
import io
from dataclasses import fields as attributes_of
from dataclasses import replace

import pytest

from etwdetect.enrich.detection import Process, Start
from etwdetect.results import record
from etwdetect.results.clock import Clock
from etwdetect.results.fields import BY_NAME, FIELDS, PROCESS_ATTRIBUTES, FieldType
from etwdetect.results.formats import FORMATS, needs_a_file
from etwdetect.results.report.sections import PROCESS_LABELS
from etwdetect.results.sinks.eventlog import event_text
from etwdetect.results.sinks.syslog import syslog_message
from etwdetect.results.writers import stream_writer
from tests.results.conftest import FULL

DETECTIONS = FULL, replace(FULL, start=Start()), replace(FULL, start=replace(FULL.start, function=None))
"""Of the others text shows the address, and the offset."""

OTHER = {
    FieldType.NUMBER: lambda value: value + 1,
    FieldType.FILETIME: lambda value: value + 36_000_000_000,
    FieldType.TEXT: lambda value: value + 1 if isinstance(value, int) else f"{value}x",
    FieldType.TEXTS: lambda value: (*value, "another"),
    FieldType.RULES: lambda value: (value[0]._replace(references=("https://example.org/b",)), *value[1:]),
    FieldType.REASONS: lambda value: (*value, ("Kind", "another")),
}


def changed(detection, field):
    """*detection* with another value of *field*."""
    part, _, name = field.attribute.rpartition(".")
    of = getattr(detection, part) if part else detection
    if getattr(of, name) is None:
        return detection
    values = {name: "driver" if field.name == "Detector" else OTHER[field.type](getattr(of, name))}
    if field.name == "Severity":
        values = {name: "high"}
    new = of._replace(**values) if part == "thread" else replace(of, **values)
    return replace(detection, **{part: new}) if part else new


def as_line(form, detection):
    stream = io.StringIO()
    stream_writer(stream, form, Clock(in_utc=True)).write(detection)
    return stream.getvalue()


WRITTEN = {form: functools.partial(as_line, form) for form in FORMATS if not needs_a_file(form)}
WRITTEN |= {"syslog": syslog_message, "eventlog": event_text}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("field", [each for each in FIELDS if each.attribute], ids=lambda each: each.name)
def test_a_format_carries_exactly_the_fields_that_the_table_says(form, field):
    write = WRITTEN[form]
    differs = any(write(changed(each, field)) != write(each) for each in DETECTIONS)
    assert differs == (form not in field.left_out_by)


def test_every_attribute_of_both_processes_is_a_field():
    attributes = {each.name for each in attributes_of(Process)} - {"pid"}
    for side in ("source", "target"):
        assert {f"{side}.{name}" for name in attributes} <= {field.attribute for field in FIELDS}
    assert set(PROCESS_ATTRIBUTES.values()) == attributes


def test_the_report_shows_every_field_of_a_process():
    """The parent's process id stands beside its image."""
    assert set(PROCESS_LABELS) == set(PROCESS_ATTRIBUTES) - {"ParentProcessId"}


def test_the_types_are_those_of_the_values_in_json():
    python_types = {FieldType.NUMBER: int, FieldType.TEXTS: list, FieldType.RULES: list, FieldType.REASONS: dict}
    for name, value in record.to_dict(FULL).items():
        assert type(value) is python_types.get(BY_NAME[name].type, str), name


def test_required_fields_are_those_of_a_record_of_which_nothing_else_is_known(detection):
    required = {field.name for field in FIELDS if field.required}
    assert set(record.to_dict(detection())) == required | {"RecordId"}, "which saved records can lack"
