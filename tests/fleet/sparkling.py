"""What the tests on Spark have in common."""

import json

from etwdetect.fleet.columns import EVENTS


def frame(spark, events):
    """Return a DataFrame of rows of events."""
    return spark.createDataFrame([{field.name: row.get(field.name) for field in EVENTS} for row in events], EVENTS)


def threads(results):
    """Return the remote threads by host, in order, as the rule gives them; no row may be a fault."""
    found = {}
    for row in sorted(results, key=lambda row: (row["host"], row["recording"], row["seq"])):
        assert not row.get("fault"), row
        address = row.get("StartAddress")
        ids = (row[name] for name in ("SourceProcessId", "SourceThreadId", "TargetProcessId", "NewThreadId"))
        start = None if address is None else int(address, 16)
        found.setdefault(row["host"], []).append((int(row["Time"]), *ids, start, tuple(row["Evidence"])))
    return found


def faults(results):
    """Return what is told to be wrong."""
    return sorted(row["fault"] for row in results if row["fault"])


def known(row):
    """Return a record as json has it, without the columns that only a fleet has, in one order."""
    own = {"host", "recording", "seq"}
    fields = {name: value for name, value in row.items() if value is not None and name not in own}
    return json.dumps(fields, sort_keys=True)


def collected(df):
    """Return the rows of *df* as dictionaries."""
    return [row.asDict() for row in df.collect()]


def found_only(expected):
    """Return *expected* without the hosts that nothing was found on."""
    return {host: hits for host, hits in expected.items() if hits}
