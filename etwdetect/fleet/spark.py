"""A Spark session, its settings and its requirements."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import MissingExtraError, UnsupportedSystemError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STATE_STORE: Final = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


class NoJavaError(UnsupportedSystemError):
    """Spark needs Java, and none was found."""

    def __init__(self) -> None:
        super().__init__(
            "Spark needs Java 17 or 21: install it (Debian: apt-get install openjdk-17-jre-headless), or set"
            " JAVA_HOME to its folder"
        )


SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    # Constraint propagation costs 1-2 s per query.
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.sql.streaming.stateStore.providerClass": _STATE_STORE,
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
"""Settings for any session; set the same on a cluster's own session."""

BLOCK_BYTES: Final = "spark.sql.execution.arrow.maxBytesPerBatch"
"""The setting for the largest batch to Python in bytes, besides maxRecordsPerBatch."""
MOST_BLOCK_BYTES: Final = str(64 << 20)
UNCOUNTED_BLOCK_BYTES: Final = str((1 << 31) - 1)
"""For short rows: with a real limit, Spark sums up the bytes of all columns for each row."""

_LOCAL: Final = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    # Bounds what is sorted at once: else memory grows with the lake up to the limit of the JVM.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
}


def session(master: str | None = None, memory: str = "2g", **settings: str) -> SparkSession:
    """Return a session on *master*, or on all cores of this machine; *memory* is that of a local driver.

    NoJavaError or MissingExtraError where that is not possible.
    """
    check_java()
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingExtraError("A fleet", "pyspark", "spark") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers may use another Python
    local = master is None or master.startswith("local")
    builder = SparkSession.builder.appName("etwdetect").master(master or "local[*]")
    java = {"spark.driver.memory": memory, "spark.driver.extraJavaOptions": _java_options(os.cpu_count() or 1)}
    options = SETTINGS | (_LOCAL | java if local else {}) | settings
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _java_options(cores: int) -> str:
    """Return the JVM options of a local driver on *cores*."""
    # Spark matches a failed batch's message with a regular expression that needs a deep stack. Every row is
    # garbage at once: without a bound for the young generation, Java fills all the memory that it may have.
    return f"-Xss4m -XX:+UseParallelGC -XX:MaxNewSize={min(512, max(256, 64 * cores))}m"


def check_java() -> None:
    """Raise NoJavaError where no Java is found."""
    home = os.environ.get("JAVA_HOME")
    if not (home and shutil.which("java", path=os.path.join(home, "bin"))) and not shutil.which("java"):  # noqa: PTH118
        raise NoJavaError
