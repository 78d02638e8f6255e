"""Build etwdetect/results/report/vendor anew: ``python -m tools.charts``; needs npm and its registry.

package-lock.json pins each package by version and checksum, so that the result is the same every time. To take a
new version: change it in package.json, run ``npm install --package-lock-only`` in this folder, then this program,
then the tests, and look at a report.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VENDOR: Final = HERE.parents[1] / "etwdetect" / "results" / "report" / "vendor"
BUILT: Final = VENDOR / "echarts.min.js"

_PINNED: Final = ("package.json", "package-lock.json", "charts.js")
_NOTICES: Final = (
    "echarts/NOTICE",
    "echarts/licenses/LICENSE-d3",
    "zrender/LICENSE",
    "tslib/LICENSE.txt",
)
"""What licences ask to stand in every copy; that of ECharts itself is the project's own, Apache-2.0."""
_OPTIONS: Final = (
    "--bundle",
    "--minify",
    "--format=iife",
    "--global-name=echarts",
    "--target=es2022",
    "--charset=ascii",
    "--legal-comments=none",
)


def main() -> None:
    """Fetch, bundle, and write the bundle with its licences and its checksum."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in _PINNED:
            shutil.copy(HERE / each, folder)
        subprocess.run([npm, "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)  # noqa: S603
        modules = folder / "node_modules"
        esbuild = [str(modules / ".bin" / "esbuild"), "charts.js", *_OPTIONS]
        code = subprocess.run(esbuild, cwd=folder, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603
        licence = (modules / "echarts" / "LICENSE").read_text("utf-8")
        notices = [(modules / each).read_text("utf-8").strip() for each in _NOTICES]
    banner = "\n\n".join((*notices, "Apache ECharts is licensed under the Apache License, Version 2.0."))
    VENDOR.mkdir(exist_ok=True)
    BUILT.write_bytes(f"/*!\n{banner}\n*/\n".encode() + code)
    (VENDOR / "LICENSE-echarts.txt").write_bytes(licence.encode())
    checksum = hashlib.sha256(BUILT.read_bytes()).hexdigest()
    (VENDOR / "SHA256SUMS").write_text(f"{checksum}  {BUILT.name}\n", "ascii", newline="\n")
    print(f"{BUILT}: {BUILT.stat().st_size:,} bytes, {checksum}")  # noqa: T201


if __name__ == "__main__":
    main()
