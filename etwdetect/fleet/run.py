"""From files of events and traces to a folder of remote threads: what `etwdetect fleet` does."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.fleet.columns import EVENTS, FAULTS, FILE_COLUMNS
from etwdetect.fleet.detect import DEFAULT_BUCKETS, DEFAULT_LATENESS, detect
from etwdetect.fleet.files import exists, is_called_trace, list_traces, names_at
from etwdetect.fleet.source import register
from etwdetect.fleet.spark import BLOCK_BYTES, MOST_BLOCK_BYTES, UNCOUNTED_BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from etwdetect.enrich.paths import Drives

Format = Literal["parquet", "json"]

_CORRUPT: Final = "_corrupt"
_GLOBS: Final = {"jsonl": "*.{jsonl,jsonl.gz}", "parquet": "*.parquet"}
_ENDINGS: Final = {"jsonl": (".jsonl", ".jsonl.gz"), "parquet": (".parquet",)}
"""By format that Spark reads: how the names of its files end."""

_EVERY: Final = "10 seconds"
"""How often a stream looks for new files and for silent hosts."""

RECORDS_FOLDER: Final = "records"
FAULTS_FOLDER: Final = "faults"
CHECKPOINT_FOLDER: Final = "checkpoint"


class OutputExistsError(EtwDetectError):
    """The output folder already holds results."""


class Written(NamedTuple):
    """How many rows were written; *batch* is the number of the batch in a stream."""

    records: int
    faults: int
    batch: int | None = None


@dataclass(frozen=True)
class Fleet:
    """What to read, how to judge it, and where to write it.

    *formats* are those of etl, jsonl and parquet to look for in each of *inputs*; by default the file names
    tell. *host* is the option of the format "etl". *files_a_batch* bounds what a stream reads at once. *names* are
    for a batch only, and *drives*, the drives of volumes, for names.
    """

    inputs: Sequence[str]
    output: str
    _: KW_ONLY
    formats: Sequence[str] = ()
    form: Format = "parquet"
    host: str | None = None
    buckets: int | None = None
    lateness: str = DEFAULT_LATENESS
    files_a_batch: int | None = None
    names: bool = True
    drives: Drives = ()

    def check(self) -> None:
        """Raise NotATraceError where an input is missing or its format is not known."""
        for path in self.inputs:
            list_traces(path)
            if not self.formats:
                _formats_at(path)

    def run(self, spark: SparkSession) -> Written:
        """Judge all that is there now. OutputExistsError where the output folder already holds results."""
        for folder in (RECORDS_FOLDER, FAULTS_FOLDER, CHECKPOINT_FOLDER):
            if exists(f"{self.output}/{folder}"):
                raise OutputExistsError(f"{self.output} already has {folder}: choose a new folder")
        spark.conf.set(BLOCK_BYTES, MOST_BLOCK_BYTES if self.names else UNCOUNTED_BLOCK_BYTES)
        results = detect(
            self._read(spark, stream=False), buckets=self.buckets, names=self.names, drives=self.drives
        )
        return self._write(results, "")

    def start(
        self, spark: SparkSession, on_batch: Callable[[Written], object], *, once: bool = False
    ) -> StreamingQuery:
        """Start a stream over existing and future files; *on_batch* is called after every batch.

        With *once* the query ends when all existing files have been read. With the same output folder it continues
        where it ended, however it ended. OutputExistsError where the output has no checkpoint to continue from.
        """
        if exists(f"{self.output}/{RECORDS_FOLDER}") and not exists(f"{self.output}/{CHECKPOINT_FOLDER}"):
            raise OutputExistsError(
                f"{self.output} has records but no checkpoint to continue from: choose a new folder"
            )
        results = detect(
            self._read(spark, stream=True), buckets=self.buckets or DEFAULT_BUCKETS, lateness=self.lateness
        )

        def write(batch: DataFrame, number: int) -> None:
            # A batch that is repeated after a crash overwrites the same folder, so nothing is duplicated.
            on_batch(self._write(batch, f"/batch={number:09}")._replace(batch=number))

        spark.conf.set(BLOCK_BYTES, MOST_BLOCK_BYTES)  # a row for the state is itself a block of rows
        # Batches without data flush silent hosts. With `once` they would never end.
        spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", not once)
        writer = results.writeStream.foreachBatch(write).option(
            "checkpointLocation", f"{self.output}/{CHECKPOINT_FOLDER}"
        )
        return (writer.trigger(availableNow=True) if once else writer.trigger(processingTime=_EVERY)).start()

    def _write(self, results: DataFrame, place: str) -> Written:
        results = results.persist()
        try:
            fault = F.col("fault").isNotNull()
            counts = {
                row["fault"]: row["count"] for row in results.groupBy(fault.alias("fault")).count().collect()
            }
            written = Written(counts.get(False, 0), counts.get(True, 0))
            records = results.where(~fault).drop("file", "offset", "fault")
            faults = results.where(fault).select(*FAULTS.names)
            tables = (written.records, records, RECORDS_FOLDER), (written.faults, faults, FAULTS_FOLDER)
            for count, table, folder in tables:
                if count or not place:
                    rows = table.coalesce(1).sortWithinPartitions("host", "recording", "seq")
                    rows.write.mode("overwrite").format(self.form).save(f"{self.output}/{folder}{place}")
            return written
        finally:
            results.unpersist()

    def _read(self, spark: SparkSession, *, stream: bool) -> DataFrame:
        frames = [
            self._read_one(spark, path, form, stream=stream)
            for path in self.inputs
            for form in self.formats or _formats_at(path)
        ]
        return reduce(lambda some, more: some.unionByName(more), frames)

    def _read_one(self, spark: SparkSession, path: str, form: str, *, stream: bool) -> DataFrame:
        reader = spark.readStream if stream else spark.read
        if stream and self.files_a_batch:
            reader = reader.option("maxFilesPerTrigger", self.files_a_batch)
        if form == "etl":
            register(spark)
            if self.host:
                reader = reader.option("host", self.host)
            return reader.format("etl").load(path)
        if not self.formats:
            reader = reader.option("pathGlobFilter", _GLOBS[form])  # the folder may hold other formats, too
        events = T.StructType([field for field in EVENTS if field not in FILE_COLUMNS])
        if form == "parquet":
            rows = reader.schema(events).parquet(path)
            fault = F.lit(None).cast("string")
        else:
            schema = T.StructType([*events, T.StructField(_CORRUPT, T.StringType())])
            rows = reader.schema(schema).option("columnNameOfCorruptRecord", _CORRUPT).json(path)
            fault = F.when(
                F.col(_CORRUPT).isNotNull(), F.concat(F.lit("is not a valid row: "), F.substring(_CORRUPT, 1, 200))
            )
        return rows.select(
            *events.names,
            F.col("_metadata.file_path").alias("file"),
            F.lit(None).cast("long").alias("offset"),
            fault.alias("fault"),
        )


def _formats_at(path: str) -> list[str]:
    """Return the formats of the files at *path*, by their names; NotATraceError where there are none."""
    names = [name.lower() for name in names_at(path)]
    found = ["etl"] if any(map(is_called_trace, names)) else []
    found += [form for form, endings in _ENDINGS.items() if any(name.endswith(endings) for name in names)]
    if not found:
        what = "has no .etl, .jsonl or .parquet, and nothing packed; --input-format says what will come"
        raise NotATraceError(path, what)
    return found
