"""The rows of a csv table."""

import csv
import io
from dataclasses import replace

import pytest

from etwdetect.results.fields import NAMES
from etwdetect.results.formats.delimited import CsvWriter, cells
from tests.results.conftest import FULL


def row(detection):
    return dict(zip(NAMES, cells(detection), strict=True))


def test_the_cells_stand_under_the_fields_and_are_empty_where_nothing_is_known(detection):
    assert {name: value for name, value in row(detection()).items() if value} == {
        "SchemaVersion": "2",
        "RecordId": "f07c52478ff627003ac2033d97de4c13",
        "Detector": "etw",
        "Time": "2020-05-12T13:08:15.2800000Z",
        "UtcTime": "2020-05-12 13:08:15.280",
        "SourceProcessId": "7392",
        "SourceThreadId": "4788",
        "TargetProcessId": "8336",
        "NewThreadId": "9384",
    }


def test_the_cells_hold_no_formula_and_no_second_line(detection):
    cells_ = row(detection("=1+1", "a\nb", start_address=0x10))
    assert (cells_["SourceImage"], cells_["TargetImage"]) == ("'=1+1", "a\\nb")
    assert cells_["StartAddress"] == "0x00000000`00000010"


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
    assert stream.getvalue() == "\ufeff" + ",".join(NAMES) + "\n"
    both = detection(), detection('a,"b".exe', "=c.exe", pid=9, evidence=("session-start", "events-lost:3"))
    for each in both:
        writer.write(each)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue().removeprefix("\ufeff"))))
    assert rows == [row(each) for each in both]
    assert rows[1]["SourceImage"] == 'a,"b".exe'


def test_no_cell_is_a_number_of_which_a_spreadsheet_drops_digits(detection):
    known = replace(detection("1e5", "0012345678901234567890"), last_time=(1 << 64) - 1, container="1.000")
    cells_ = row(known)
    assert (cells_["SourceImage"], cells_["TargetImage"]) == ("'1e5", "'0012345678901234567890")
    assert (cells_["LastTime"], cells_["Container"]) == ("'18446744073709551615", "'1.000")
    assert all(len(value) <= 15 for value in row(FULL).values() if value.isdigit())


def test_what_guesses_types_takes_a_start_address_for_text(detection, tmp_path):
    pandas = pytest.importorskip("pandas")
    stream = io.StringIO()
    CsvWriter(stream).write(detection("mäx.exe", start_address=0xFFFF_F800_0000_1000))
    path = tmp_path / "a.csv"
    path.write_text(stream.getvalue(), "utf-8")
    (read,) = pandas.read_csv(path).to_dict("records")
    assert (read["SchemaVersion"], read["SourceImage"]) == (2, "mäx.exe")
    assert read["StartAddress"] == "0xFFFFF800`00001000"
