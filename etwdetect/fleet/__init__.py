"""The rule over the events of many hosts, on Spark: the extra etwdetect[spark]; docs/user/fleet.md is its guide.

`etwdetect.fleet.detect` has the function. Only `cli/fleet.py` imports this package.
"""
