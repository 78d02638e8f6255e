"""The texts that stand in the .zip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import etwdetect
from tools.windows_lab.windows_python import EMBED, EMBED_PYTHON
from tools.windows_zip.platforms import X64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.windows_zip.platforms import Platform
    from tools.windows_zip.wheels import Wheel

_README: Final = """\
etwdetect {version} for {systems}, {words}

Finds threads that one process creates in another.

To use it, unpack this folder anywhere and start etwdetect.exe in it from a terminal:

    etwdetect.exe scan TRACE.etl        remote threads in a recorded trace
    etwdetect.exe monitor               as they happen; needs a terminal opened with "Run as administrator"
    etwdetect.exe service install       the same as a service, started with Windows; as an administrator
    etwdetect.exe --help

But for "service install" and "driver install", nothing is installed, and nothing outside of this folder is
changed. To remove it, uninstall what you installed, and delete the folder. To have a newer version, unpack that
one beside it, not over it; its "etwdetect.exe service install" moves a service over, with its configuration.
{missing}
Whoever can change files in this folder decides what runs when you start etwdetect.exe. Before you start it as an
administrator, unpack it where only administrators can write, such as in C:\\Program Files.

etwdetect.exe starts python\\python.exe, a Python of its own, with what is in the folder lib. Both are unchanged
from where they come from; licences\\README.txt says from where, and has the licences.

The folder parity_tests compares etwdetect with the KDetector driver on a test machine that has the driver:

    etwdetect.exe parity scenarios list
    etwdetect.exe parity run --bench vm
"""

_SYSTEMS: Final = "Windows 10 and 11 and Windows Server 2016 and later"
_SYSTEMS_ON_ARM: Final = "Windows 11 and Windows Server 2025"

_MISSING: Final = """
These packages have no build for this kind of machine, so what needs them is missing here: {packages}.
The .zip for x64 has them, and runs here too, emulated.
"""

_LICENCES: Final = """\
etwdetect is under the Apache License 2.0. This folder has the licences of all that comes with it.

Each part is unchanged, but for files that are needed only to develop with it (tests, headers, type stubs), which
were left out. You may replace any of them by another build of the same part: they are separate files in the
folders python and lib. The LGPL asks for this; libfwnt-python, pySigma and pySigma-backend-sqlite are under it.

The source of each Python package is its source distribution of the same version on the Python Package Index.
CPython is the embeddable package of python.org, as {embed} on the Python Package Index carries it.
etwdetect.exe is the launcher t64.exe of distlib, followed by a line that says which Python it starts.

"""


def readme(platform: Platform, missing: Sequence[str]) -> bytes:
    """Return README.txt; *missing* are the packages that have no wheel for *platform*."""
    told = _MISSING.format(packages=", ".join(missing)) if missing else ""
    systems = _SYSTEMS if platform is X64 else _SYSTEMS_ON_ARM
    return _text(
        _README.format(version=etwdetect.__version__, systems=systems, words=platform.words, missing=told)
    )


def licences(packages: Sequence[Wheel]) -> bytes:
    r"""Return licences\README.txt, which lists *packages*."""
    rows = [(each.name, each.version, each.licence) for each in packages]
    rows.append(("CPython", EMBED_PYTHON, "PSF-2.0"))
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    lines = [f"{name:{widths[0]}}{version:{widths[1]}}{licence}" for name, version, licence in rows]
    return _text(_LICENCES.format(embed=EMBED) + "\n".join(lines) + "\n")


def _text(lines: str) -> bytes:
    """Return *lines* as Windows has them in text files."""
    return lines.replace("\n", "\r\n").encode("ascii")
