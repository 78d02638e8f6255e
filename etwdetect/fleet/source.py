"""spark.read.format("etl") and spark.readStream.format("etl"): the events of traces, as rows.

`register(spark)` makes the format known. Options: the path (a file, a directory, or either on an object
store that pyarrow knows, such as ``s3://bucket/traces``); *host*, a regular expression whose first group, or all
of it, is the host in a trace's path; *maxFilesPerTrigger* for a stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxFiles

from etwdetect.fleet.columns import EVENTS
from etwdetect.fleet.files import TraceFile, list_traces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.datasource import ReadLimit
    from pyspark.sql.types import StructType

_PARTITION_BYTES: Final = 64 << 20
"""Files are read together up to this size; a larger one alone."""

_WINDOW: Final = 7 * 86_400
"""Seven days, in seconds: files older than the newest one by more are ignored, as in Spark's own sources."""


def register(spark: SparkSession) -> None:
    """Make the format "etl" known to *spark*."""
    spark.dataSource.register(EtlDataSource)


class EtlDataSource(DataSource):
    """The format "etl"."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "etl"

    def schema(self) -> StructType:
        """Return the columns of events."""
        return EVENTS

    def reader(self, schema: StructType) -> DataSourceReader:  # noqa: ARG002 (Spark's signature)
        """Return the reader of a batch."""
        return _Reader(self.options)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: ARG002, N802
        """Return the reader of a stream."""
        return _StreamReader(self.options)


@dataclass
class _Partition(InputPartition):
    """The files that one task reads."""

    files: tuple[TraceFile, ...]


class _Files:
    """What both readers share: the options, and how to read a partition."""

    def __init__(self, options: Any) -> None:  # noqa: ANN401
        self.path = options.get("path")
        if not self.path:
            raise ValueError('the format "etl" needs a path')
        self.host = options.get("host")
        if self.host:
            re.compile(self.host)
        self.most = int(options.get("maxFilesPerTrigger", 0))

    def partitions(self, files: Sequence[TraceFile]) -> list[_Partition]:
        result: list[_Partition] = []
        some: list[TraceFile] = []
        size = 0
        for file in sorted(files):
            if some and size + file.size > _PARTITION_BYTES:
                result.append(_Partition(tuple(some)))
                some, size = [], 0
            some.append(file)
            size += file.size
        return [*result, _Partition(tuple(some))] if some else result

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, _Partition)  # as `partitions` made it
        # Imported here because this runs on a worker.
        from etwdetect.fleet.reading import batches  # noqa: PLC0415

        return batches(partition.files, self.host)


class _Reader(DataSourceReader):
    def __init__(self, options: Any) -> None:  # noqa: ANN401
        self._files = _Files(options)

    def partitions(self) -> Sequence[InputPartition]:
        return self._files.partitions(list_traces(self._files.path)) or [_Partition(())]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return self._files.read(partition)


class _StreamReader(DataSourceStreamReader):
    """Its offset holds the files that were read, so that a restart from a checkpoint needs no listing.

    ``{"newest": seconds, "seen": {path: [size, modified]}}``; *seen* covers seven days before the newest file.
    """

    def __init__(self, options: Any) -> None:  # noqa: ANN401
        self._files = _Files(options)

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802
        return {"newest": 0, "seen": {}}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        return ReadMaxFiles(self._files.most) if self._files.most else ReadAllAvailable()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
        seen = start["seen"]
        fresh = [file for file in list_traces(self._files.path) if file.path not in seen]
        fresh = [file for file in fresh if file.modified >= start["newest"] - _WINDOW]
        fresh.sort(key=lambda file: (file.modified, file.path))
        if isinstance(limit, ReadMaxFiles):
            fresh = fresh[: limit.max_files]
        if not fresh:
            return start
        newest = max(start["newest"], fresh[-1].modified)
        kept = {path: known for path, known in seen.items() if known[1] >= newest - _WINDOW}
        kept |= {file.path: [file.size, file.modified] for file in fresh}
        return {"newest": newest, "seen": kept}

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        files = [TraceFile(path, *known) for path, known in end["seen"].items() if path not in start["seen"]]
        return self._files.partitions(files)

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return self._files.read(partition)

    def commit(self, end: dict[str, Any]) -> None:
        pass

    def stop(self) -> None:
        pass
