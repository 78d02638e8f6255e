"""One Spark for all tests of the fleet: it takes long to start."""

import shutil

import pytest


@pytest.fixture(scope="session")
def java():
    """Skip where Spark can't start."""
    if shutil.which("java") is None:
        pytest.skip("there is no Java")


@pytest.fixture(scope="session")
def spark(java, tmp_path_factory):  # noqa: ARG001 (which skips)
    """A session with two worker threads, in folders of its own."""
    from etwdetect.fleet.spark import session  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "local"),
        "spark.ui.showConsoleProgress": "false",
    }
    spark = session("local[2]", memory="1g", **settings)
    yield spark
    spark.stop()
