"""The rows of a csv table."""

import csv
import io
from dataclasses import replace

from etwdetect.results.fields import NAMES
from etwdetect.results.formats.delimited import CsvWriter, cells


def row(detection):
    return dict(zip(NAMES, cells(detection), strict=True))


def test_the_cells_stand_under_the_fields_and_are_empty_where_nothing_is_known(detection):
    assert {name: value for name, value in row(detection()).items() if value} == {
        "SchemaVersion": "2",
        "RecordId": "f07c52478ff627003ac2033d97de4c13",
        "Detector": "etw",
        "Time": "132337624952800000",
        "UtcTime": "2020-05-12 13:08:15.280",
        "SourceProcessId": "7392",
        "SourceThreadId": "4788",
        "TargetProcessId": "8336",
        "NewThreadId": "9384",
    }


def test_the_cells_hold_no_formula_and_no_second_line(detection):
    cells_ = row(detection("=1+1", "a\nb", start_address=0x10))
    assert (cells_["SourceImage"], cells_["TargetImage"]) == ("'=1+1", "a\\nb")
    assert cells_["StartAddress"] == "0x0000000000000010"


def test_lists_and_reasons_are_one_cell_each(detection):
    known = replace(
        detection(evidence=("session-start", "events-lost:3")),
        sigma=("One", "=Two"),
        absent=(("StartFunction", "no file"),),
    )
    cells_ = row(known)
    assert cells_["Evidence"] == "session-start; events-lost:3"
    assert cells_["Sigma"] == "One;' =Two"
    assert cells_["Absent"] == '{"StartFunction": "no file"}'


def test_the_table_reads_back_under_its_heading(detection):
    stream = io.StringIO()
    writer = CsvWriter(stream)
    assert stream.getvalue() == ",".join(NAMES) + "\n"
    both = detection(), detection('a,"b".exe', "=c.exe", pid=9, evidence=("session-start", "events-lost:3"))
    for each in both:
        writer.write(each)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert rows == [row(each) for each in both]
    assert rows[1]["SourceImage"] == 'a,"b".exe'
