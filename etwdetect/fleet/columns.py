"""The columns in Spark: of events and of results, and what makes a row of events valid."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import functions as F  # noqa: N812 (as everybody calls it)
from pyspark.sql import types as T  # noqa: N812

from etwdetect.core.prefilter import THREAD_START
from etwdetect.fleet.judge import CODES, CONTRADICTION, FAULT, RECORDING_START
from etwdetect.results.fields import FIELDS, FieldType
from etwdetect.sources.eventdata.schema import COLUMNS, KINDS, OLDEST_VERSION, POINTER_SIZES, SCHEMA_VERSION

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
"""The columns of a row for what could not be read: the file, the offset in bytes, and what is wrong."""

EVENTS: Final = T.StructType(
    [*(T.StructField(column.name, _TYPES[column.type]) for column in COLUMNS), *FILE_COLUMNS]
)
"""The rows of docs/reference/events.md, and behind them FILE_COLUMNS."""

_RECORD_TYPES: Final = {
    FieldType.NUMBER: T.LongType(),
    FieldType.FILETIME: T.StringType(),
    FieldType.TEXT: T.StringType(),
    FieldType.TEXTS: T.ArrayType(T.StringType()),
    FieldType.REASONS: T.MapType(T.StringType(), T.StringType()),
    FieldType.RULES: T.ArrayType(
        T.StructType(
            [
                *(T.StructField(name, T.StringType()) for name in ("Title", "Id", "Level")),
                *(T.StructField(name, T.ArrayType(T.StringType())) for name in ("Tags", "References")),
            ]
        )
    ),
}


FAULTS: Final = T.StructType(
    [
        T.StructField("host", T.StringType()),
        T.StructField("recording", T.StringType()),
        T.StructField("seq", T.LongType()),
        *FILE_COLUMNS,
    ]
)
"""The columns of a fault, null where they are not known; `fault.Fault` has the same."""

RESULTS: Final = T.StructType(
    [
        *FAULTS,
        *(T.StructField(field.name, _RECORD_TYPES[field.type]) for field in FIELDS),
    ]
)
"""The columns of the result: a remote thread, with the fields of docs/reference/fields.md, or a fault. host,
recording and seq name the row of events that it comes from."""

_ID_COLUMNS: Final = ("creator_pid", "creator_tid", "pid", "tid")
_NEEDED: Final = ("host", "kind", "recording", "schema_version", "seq", "time")
_NAMES: Final = ("host", "recording")
_OTHER_KINDS: Final = [kind for kind in KINDS if kind not in CODES]
_COUNT_COLUMNS: Final = ("seq", "events", "buffers")

MOST_NAME: Final = 4096
"""The longest name of a host or recording, in bytes of UTF-8: each row has both."""
_MOST_ADDRESS: Final = 18
_MOST_CONTRADICTION: Final = 64
_MOST_TOLD: Final = 200
"""How many characters of an invalid value a fault shows."""


def completed(df: DataFrame, host: str) -> DataFrame:
    """Return *df* with every column of EVENTS, in its type; *host* is its column with the host."""
    if host != "host":
        df = df.withColumn("host", F.col(host))
    return df.select(*(_of(df, field).alias(field.name) for field in EVENTS))


def _of(df: DataFrame, field: T.StructField) -> Column:
    if field.name not in df.columns:
        return F.lit(None).cast(field.dataType)
    column = F.col(field.name).cast(field.dataType)
    # A string column of a file may hold bytes that are not valid UTF-8, which Python rejects.
    return F.make_valid_utf8(column) if isinstance(field.dataType, T.StringType) else column


def code_of() -> Column:
    """Return the code of the kind of a row of events, null for kinds that the rule ignores."""
    code = F.when(F.col("kind") == "ThreadStart", F.lit(THREAD_START))  # most are
    for kind, (number, *_) in CODES.items():
        code = code.when(F.col("kind") == kind, F.lit(number))
    return code


def fault_of() -> Column:
    """Return what is wrong with a row of events that has its `code_of`, or null."""
    fault = F.when(F.col("fault").isNotNull(), F.col("fault"))
    for name in _NEEDED:
        fault = fault.when(F.col(name).isNull(), F.lit(f"has no {name}"))
    for name in _NAMES:
        fault = fault.when(_is_long(name), F.lit(f"has a {name} of more than {MOST_NAME:,} bytes"))
    fault = fault.when(
        ~_is_known_version(),
        F.concat(F.lit("has the schema version "), F.col("schema_version").cast("string")),
    ).when(
        F.col("code").isNull() & ~F.col("kind").isin(_OTHER_KINDS),
        F.concat(F.lit("is of the unknown kind "), F.substring("kind", 1, _MOST_TOLD)),
    )
    for kind, (code, *_) in CODES.items():
        record: Any = KINDS[kind]
        missing = [name for name in record._fields if name not in record._field_defaults and name not in _NEEDED]
        if missing:
            lacks = reduce(lambda some, more: some | more, (F.col(name).isNull() for name in missing))
            fault = fault.when((F.col("code") == code) & lacks, F.lit(f"lacks one of {', '.join(missing)}"))
    fault = fault.when(_is_negative(_COUNT_COLUMNS), F.lit("has a number below zero"))
    fault = fault.when(_is_no_pointer_size(), F.lit("has an invalid pointer_size"))
    return fault.when(_is_no_id(), F.lit("has an invalid id"))


def _is_known_version() -> Column:
    return F.col("schema_version").between(OLDEST_VERSION, SCHEMA_VERSION)


def _is_long(name: str) -> Column:
    return F.octet_length(name) > MOST_NAME


def _is_negative(names: Iterable[str]) -> Column:
    return F.least(*names) < 0


def _is_no_pointer_size() -> Column:
    return ~F.col("pointer_size").isin(*POINTER_SIZES)


def _is_no_id() -> Column:
    return _is_negative(_ID_COLUMNS) | (F.greatest(*_ID_COLUMNS) > 0xFFFFFFFF)


def rule_rows(events: DataFrame) -> DataFrame:
    """Return the rows of *events* (`completed`) that the rule uses, and the faults.

    After host and recording they have the columns of `judge.Row`.
    """
    # Spark generates one method from these expressions, and Java compiles none above 8,000 bytes (a test checks
    # it). So rows of other kinds are dropped first, without evaluating all of `fault_of`.
    rows = events.where(~or_false(F.col("kind").isin(_OTHER_KINDS) & _is_sound()))
    rows = rows.withColumn("code", code_of()).withColumn("fault", fault_of())
    is_fault = F.col("fault").isNotNull()
    return rows.select(
        *(F.when(_is_long(name), F.substring(name, 1, MOST_NAME // 4)).otherwise(F.col(name)).alias(name)
          for name in _NAMES),
        "time",
        F.when(is_fault, F.lit(FAULT)).otherwise(F.col("code")).alias("code"),
        "seq",
        _by_code(1).alias("first"),
        _by_code(2).alias("second"),
        "pid",
        "tid",
        F.when(is_fault, F.to_json(F.struct("fault", "file", "offset")))
        .when(F.col("code") == RECORDING_START, F.substring(F.coalesce("trace", "file"), 1, MOST_NAME))
        .when(F.col("code") == CONTRADICTION, F.substring("name", 1, _MOST_CONTRADICTION))
        .otherwise(F.substring("start_address", 1, _MOST_ADDRESS + 1))
        .alias("text"),
    )  # fmt: skip


def _is_sound() -> Column:
    """Whether a row of a kind that the rule ignores has no fault; null where something is missing."""
    bad = _is_negative(_COUNT_COLUMNS), _is_no_pointer_size(), _is_no_id(), *map(_is_long, _NAMES)
    good = [F.col("fault").isNull(), _is_known_version()]
    good += [F.col(name).isNotNull() for name in _NEEDED]
    return reduce(lambda some, more: some & more, [*good, *(~or_false(each) for each in bad)])


def or_false(condition: Column) -> Column:
    """Return *condition*, false where it is null."""
    return F.coalesce(condition, F.lit(0) == 1)


def _by_code(place: int) -> Column:
    """Return the value that stands at *place* in CODES for the row's code."""
    values: dict[str, list[int]] = {}
    for code, *names in CODES.values():
        name = names[place - 1]
        if name is not None:
            values.setdefault(name, []).append(code)
    chain: Any = F
    for name, codes in values.items():
        chain = chain.when(F.col("code").isin(codes), F.col(name).cast("long"))
    column: Column = chain
    return column
