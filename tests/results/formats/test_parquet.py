"""Results as Parquet, read back with pyarrow."""

import pytest

from etwdetect.results import record
from etwdetect.results.errors import OutputError
from etwdetect.results.fields import NAMES
from tests.results.conftest import FULL, HOSTILE

pq = pytest.importorskip("pyarrow.parquet")
parquet = pytest.importorskip("etwdetect.results.formats.parquet")


def written(path, *detections):
    writer = parquet.ParquetWriter(path)
    for each in detections:
        writer.write(each)
    writer.close()
    return pq.read_table(path)


def test_a_row_has_the_fields_of_json_in_their_types(tmp_path, detection):
    table = written(tmp_path / "a.parquet", FULL, detection())
    assert tuple(table.column_names) == NAMES
    full, least = table.to_pylist()
    expected = record.to_dict(FULL)
    assert {name: value for name, value in full.items() if not isinstance(value, list)} == {
        name: value for name, value in expected.items() if not isinstance(value, list | dict)
    }
    assert (full["Evidence"], dict(full["Absent"])) == (expected["Evidence"], expected["Absent"])
    assert full["SigmaRules"][0] == expected["SigmaRules"][0]
    assert full["SigmaRules"][1] == {
        "Title": "Another; rule", "Id": None, "Level": "low", "Tags": None, "References": None
    }  # fmt: skip
    assert {name: value for name, value in least.items() if value is not None} == record.to_dict(detection())


def test_the_columns_are_those_of_the_fleet():
    spark = pytest.importorskip("pyspark.sql.pandas.types")
    columns = pytest.importorskip("etwdetect.fleet.columns")
    fields = [field for field in columns.RESULTS if field.name in NAMES]
    assert [field.name for field in fields] == list(NAMES)
    for field, ours in zip(fields, parquet.ARROW_SCHEMA, strict=True):
        assert spark.from_arrow_type(ours.type).simpleString() == field.dataType.simpleString(), field.name


def test_rows_are_written_in_groups(tmp_path, detection, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 2)
    written(tmp_path / "a.parquet", *(detection(tid=number) for number in range(5)))
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.num_row_groups == 3
    assert file.read(["NewThreadId"]).to_pydict() == {"NewThreadId": [0, 1, 2, 3, 4]}


def test_a_file_without_rows_has_its_columns(tmp_path):
    assert tuple(written(tmp_path / "a.parquet").column_names) == NAMES


def test_what_does_not_print_is_escaped(tmp_path, detection):
    (row,) = written(tmp_path / "a.parquet", detection(HOSTILE)).to_pylist()
    assert row["SourceImage"].isprintable()
    assert "\\ud800\\x00" in row["SourceImage"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, detection):
    path = tmp_path / "a.parquet"
    written(path, detection())
    before = path.read_bytes()
    writer = parquet.ParquetWriter(path)
    writer.write(FULL)
    assert path.read_bytes() == before
    writer.close()
    assert path.read_bytes() != before


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(OutputError):
        parquet.ParquetWriter(tmp_path / "missing" / "a.parquet")
