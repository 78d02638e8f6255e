"""The columns on Spark's side: those of events, those of what comes out, and what makes a row of events valid."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import functions as F  # noqa: N812 (as everybody calls it)
from pyspark.sql import types as T  # noqa: N812

from etwdetect.fleet.judge import CODES, FAULT
from etwdetect.output.record import FIELDS
from etwdetect.recorded.schema import COLUMNS, KINDS, POINTER_SIZES, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import Column, DataFrame

_TYPES: Final = {
    "int32": T.IntegerType(),
    "int64": T.LongType(),
    "string": T.StringType(),
    "bool": T.BooleanType(),
}

FILE_COLUMNS: Final = (
    T.StructField("file", T.StringType()),
    T.StructField("offset", T.LongType()),
    T.StructField("fault", T.StringType()),
)
"""Of a row that stands for what could not be read: the file, the place in bytes, and what is wrong."""

EVENTS: Final = T.StructType(
    [*(T.StructField(column.name, _TYPES[column.type]) for column in COLUMNS), *FILE_COLUMNS]
)
"""The rows of docs/events.md, and behind them FILE_COLUMNS."""

_NUMBERS: Final = ("Id", "SessionId", "Version", "Count")
_LISTS: Final = ("Evidence", "Sigma")


def _record_type(name: str) -> T.DataType:
    if name in _LISTS:
        return T.ArrayType(T.StringType())
    if name == "Absent":
        return T.MapType(T.StringType(), T.StringType())
    return T.LongType() if name.endswith(_NUMBERS) else T.StringType()


FAULTS: Final = T.StructType(
    [
        T.StructField("host", T.StringType()),
        T.StructField("recording", T.StringType()),
        T.StructField("seq", T.LongType()),
        *FILE_COLUMNS,
    ]
)
"""What is told of a row that is at fault, as far as it is known."""

RESULTS: Final = T.StructType(
    [
        *FAULTS,
        *(T.StructField(name, _record_type(name)) for name in FIELDS),
    ]
)
"""What comes out: a remote thread, under the fields of docs/output.md, or a fault. (host, recording, seq) is the
row of events that it comes from."""

_ID_COLUMNS: Final = ("creator_pid", "creator_tid", "pid", "tid")
_COUNT_COLUMNS: Final = ("seq", "events", "buffers")

MOST_NAME: Final = 4096
"""The longest name of a host or recording, in bytes of UTF-8: each row has both."""
_MOST_ADDRESS: Final = 18
_MOST_TOLD: Final = 200
"""How many characters are told of a value that makes no sense."""


def completed(df: DataFrame, host: str) -> DataFrame:
    """Return *df* with every column of EVENTS, in its type; *host* is what it calls the host."""
    if host != "host":
        df = df.withColumn("host", F.col(host))
    return df.select(*(_of(df, field).alias(field.name) for field in EVENTS))


def _of(df: DataFrame, field: T.StructField) -> Column:
    if field.name not in df.columns:
        return F.lit(None).cast(field.dataType)
    column = F.col(field.name).cast(field.dataType)
    # A file may call any bytes a string, which Python would not take for one.
    return F.make_valid_utf8(column) if isinstance(field.dataType, T.StringType) else column


def fault_of() -> Column:
    """Return what is wrong with a row of events, or null."""
    needed = {"schema_version", "host", "recording", "seq", "kind", "time"}
    fault = F.when(F.col("fault").isNotNull(), F.col("fault"))
    for name in sorted(needed):
        fault = fault.when(F.col(name).isNull(), F.lit(f"has no {name}"))
    for name in ("host", "recording"):
        long = F.octet_length(name) > MOST_NAME
        fault = fault.when(long, F.lit(f"has a {name} of more than {MOST_NAME:,} bytes"))
    fault = fault.when(
        F.col("schema_version") != SCHEMA_VERSION,
        F.concat(F.lit("has the schema version "), F.col("schema_version").cast("string")),
    ).when(
        ~F.col("kind").isin(list(KINDS)),
        F.concat(F.lit("is of the unknown kind "), F.substring("kind", 1, _MOST_TOLD)),
    )
    for kind in CODES:
        record: Any = KINDS[kind]
        missing = [name for name in record._fields if name not in record._field_defaults and name not in needed]
        if missing:
            fault = fault.when((F.col("kind") == kind) & _any(F.col(name).isNull() for name in missing),
                               F.lit(f"lacks one of {', '.join(missing)}"))  # fmt: skip
    uncountable = _any(F.col(name) < 0 for name in _COUNT_COLUMNS)
    fault = fault.when(uncountable, F.lit("has a number below zero"))
    fault = fault.when(~F.col("pointer_size").isin(*POINTER_SIZES), F.lit("has a pointer_size that is none"))
    out_of_range = _any(~F.col(name).between(0, 0xFFFFFFFF) for name in _ID_COLUMNS)
    return fault.when(out_of_range, F.lit("has an id that is none"))


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(lambda left, right: left | right, (F.coalesce(each, F.lit(0) == 1) for each in conditions))


def judge_columns() -> list[Column]:
    """Return the columns of a row as `judge.Row` has them, behind host and recording."""

    def by_kind(place: int, otherwise: Column) -> Column:
        column = otherwise
        for kind, values in CODES.items():
            name = values[place]
            if name is not None:
                column = F.when(F.col("kind") == kind, F.lit(name) if place == 0 else F.col(str(name))).otherwise(
                    column
                )
        return column

    def name(column: str) -> Column:
        short = F.octet_length(column) <= MOST_NAME
        return F.when(short, F.col(column)).otherwise(F.substring(column, 1, MOST_NAME // 4))

    is_fault = F.col("fault").isNotNull()
    return [
        name("host").alias("host"),
        name("recording").alias("recording"),
        F.col("time"),
        F.when(is_fault, F.lit(FAULT)).otherwise(by_kind(0, F.lit(None)).cast("int")).alias("code"),
        F.col("seq"),
        by_kind(1, F.lit(None).cast("long")).alias("first"),
        by_kind(2, F.lit(None).cast("long")).cast("long").alias("second"),
        F.col("pid"),
        F.col("tid"),
        F.when(is_fault, F.to_json(F.struct("fault", "file", "offset")))
        .otherwise(F.substring("start_address", 1, _MOST_ADDRESS + 1))
        .alias("text"),
    ]
