"""A Spark session of our own, and what it needs."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from etwdetect.errors import MissingExtraError, UnsupportedSystemError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STATE_STORE: Final = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


class NoJavaError(UnsupportedSystemError):
    """Spark needs Java, and there is none."""

    def __init__(self) -> None:
        super().__init__(
            "Spark needs Java 17 or 21: install it (Debian: apt-get install openjdk-17-jre-headless), or say where"
            " it is in JAVA_HOME"
        )


SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.sql.streaming.stateStore.providerClass": _STATE_STORE,
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
"""What the rule on Spark wants of any session; a cluster's own is given the same."""

_LOCAL: Final = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    # Spark searches a failed batch's message with a regular expression that needs a deep stack.
    "spark.driver.extraJavaOptions": "-Xss4m",
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
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # or the workers get another Python's packages
    local = master is None or master.startswith("local")
    builder = SparkSession.builder.appName("etwdetect").master(master or "local[*]")
    options = SETTINGS | (_LOCAL | {"spark.driver.memory": memory} if local else {}) | settings
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def check_java() -> None:
    """Raise NoJavaError where there is no Java to be found."""
    home = os.environ.get("JAVA_HOME")
    if not (home and shutil.which("java", path=os.path.join(home, "bin"))) and not shutil.which("java"):  # noqa: PTH118
        raise NoJavaError
