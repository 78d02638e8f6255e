"""Runs a target under atheris: `python -m fuzz TARGET SECONDS [libFuzzer's options]`.

What was found to be new stays in build/fuzz/TARGET, what breaks something goes to build/fuzz/found.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

BUILD = Path(__file__).parent.parent / "build" / "fuzz"


def main() -> None:
    """Run the target that the command line names."""
    # Recursion in what the targets import is not followed: all of it is imported here.
    with atheris.instrument_imports(include=["etwdetect", "parity_tests", "pefile", "zipfile", "gzip", "tomllib"]):
        from fuzz import corpus, targets  # noqa: PLC0415
    name, seconds, *options = sys.argv[1:]
    if name not in targets.TARGETS:
        sys.exit(f"no target {name!r}; there are {', '.join(targets.TARGETS)}")
    seeds, grown, found = BUILD / "seeds" / name, BUILD / name, BUILD / "found"
    corpus.write(name, seeds)
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={int(seconds)}",
        f"-max_len={targets.MOST_BYTES}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={found / name}-",
        *options,
        str(grown),
        str(seeds),
    ]
    atheris.Setup(arguments, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
