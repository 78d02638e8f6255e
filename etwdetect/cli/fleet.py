"""etwdetect fleet: the rule over the events of many hosts, on Spark."""

from __future__ import annotations

import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.cli import note, say
from etwdetect.cli.enrichment import drive_option
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status, of_all
from etwdetect.core.errors import EtwDetectError, MissingExtraError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from etwdetect.enrich.paths import Drives
    from etwdetect.fleet.run import Fleet, Written

_INPUT_FORMATS: Final = ("etl", "jsonl", "parquet")
_POLL_SECONDS: Final = 0.5
"""Seconds between two checks whether a stream has ended."""


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", "-o", required=True, help="The folder to write: records and faults are made in it.")
@click.option("--format", "form", type=click.Choice(("parquet", "json")), default="parquet", show_default=True)
@click.option("--master", help="Spark's master URL; by default an embedded Spark on all cores of this machine.")
@click.option("--names/--no-names", default=True, show_default=True,
              help="Add programs, users, modules and kinds; not possible with --stream.")  # fmt: skip
@drive_option
@click.option("--stream", is_flag=True, help="Continue with new files in INPUT, until Ctrl+C.")
@click.option("--once", is_flag=True, help="With --stream: end when all existing files have been read.")
@click.option("--lateness", default="10 minutes", show_default=True, help="How late rows of a stream may come.")
@click.option("--buckets", type=click.IntRange(1), help="The number of parts that the hosts are divided into.")
@click.option("--host-pattern", help="A regular expression that finds the host in a trace's path.")
@click.option("--input-format", "formats", type=click.Choice(_INPUT_FORMATS), multiple=True,
              help="The formats in INPUT; by default by the names of the files.")  # fmt: skip
@click.option("--files-per-batch", type=click.IntRange(1), help="How many new files a stream reads at once.")
@click.option("--exit-code", is_flag=True, help="End with status 10, or 11 if incomplete, on any remote thread.")
def command(  # noqa: PLR0913, PLR0917 (one parameter an option)
    inputs: tuple[str, ...],
    output: str,
    form: Any,  # noqa: ANN401
    master: str | None,
    lateness: str,
    buckets: int | None,
    host_pattern: str | None,
    formats: tuple[str, ...],
    files_per_batch: int | None,
    drives: Drives,
    *,
    names: bool,
    stream: bool,
    once: bool,
    exit_code: bool,
) -> Status:
    """Find the remote threads in the events of many hosts.

    INPUT is a file or folder of traces (.etl) or events (.jsonl, .parquet), packed or not, here or on an object
    store. The folder --output gets the remote threads (records) and what could not be read (faults).
    """
    if once and not stream:
        raise click.UsageError("--once requires --stream")
    try:
        from etwdetect.fleet.detect import DEFAULT_BUCKETS, parse_lateness  # noqa: PLC0415 (an extra)
        from etwdetect.fleet.run import Fleet  # noqa: PLC0415
        from etwdetect.fleet.spark import session  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("A fleet", str(error.name), "spark") from error
    _checked("--lateness", parse_lateness, lateness)
    _checked("--host-pattern", re.compile, host_pattern or "")
    fleet = Fleet(
        inputs,
        output,
        formats=formats,
        form=form,
        host=host_pattern,
        buckets=buckets,
        lateness=lateness,
        files_a_batch=files_per_batch,
        names=names,
        drives=drives,
    )
    settings = {"spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower()}
    if stream:
        # More tasks than buckets would be empty. Each starts a Python worker and opens a state store, so more than
        # keep this machine busy only cost time; a cluster can run all of them.
        most = buckets or DEFAULT_BUCKETS
        here = 2 * (os.cpu_count() or 1) if master is None or master.startswith("local[") else most
        settings["spark.sql.shuffle.partitions"] = str(min(most, here))
    fleet.check()
    spark = session(master, **settings)
    try:
        total = _stream(fleet, spark, once=once) if stream else fleet.run(spark)
    except EtwDetectError as error:
        say(printable(str(error)))
        return Status.ERROR
    except Exception as error:
        from pyspark.errors import PySparkException  # noqa: PLC0415

        if not isinstance(error, PySparkException):
            raise
        say(f"Spark: {printable(str(error).partition(chr(10))[0])}")
        return Status.ERROR
    finally:
        spark.stop()
    note(f"{output}: {_counts(total)}")
    status = Status.INCOMPLETE if total.faults else Status.DONE
    return of_all([status], found=exit_code and total.records > 0)


def _checked(option: str, check: Callable[[str], object], value: str) -> None:
    try:
        check(value)
    except (ValueError, re.error) as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _stream(fleet: Fleet, spark: SparkSession, *, once: bool) -> Written:
    """Run the stream until it ends or the user interrupts it; return what was written."""
    from etwdetect.fleet.run import Written  # noqa: PLC0415

    total = Written(0, 0)

    def tell(written: Written) -> None:
        nonlocal total
        total = Written(total.records + written.records, total.faults + written.faults)
        if written.records or written.faults:
            note(f"batch {written.batch}: {_counts(written)}")

    asked = threading.Event()
    with on_interruption(asked.set):
        query = fleet.start(spark, tell, once=once)
        _wait(query, asked)
    return total


def _wait(query: StreamingQuery, asked: threading.Event) -> None:
    while query.isActive:
        if asked.wait(_POLL_SECONDS):
            query.stop()
            return
    failed = query.exception()
    if failed is not None:
        raise failed


def _counts(written: Written) -> str:
    return f"{written.records:,} remote threads, {written.faults:,} faults"
