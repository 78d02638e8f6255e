"""Provision the lab, or say in one line why that is not possible: ``python -m tools.windows_lab``.

Exit status: 0 the lab is there and Windows CPython answered; 1 a step failed; 5 not possible on this machine.
"""

from __future__ import annotations

import sys
import time

from tools.windows_lab.errors import LabError, LabUnavailableError
from tools.windows_lab.lab import Lab, open_lab

_QUESTION = "import platform, sys; print('CPython', platform.python_version(), 'on', platform.platform())"


def main() -> int:
    """Provision the lab and let its Windows CPython say who it is."""
    began = time.monotonic()
    try:
        with open_lab(install_packages=True) as lab:
            answer = _ask(lab)
    except LabUnavailableError as error:
        print(f"no Windows lab: {error}", file=sys.stderr)  # noqa: T201
        return 5
    except LabError as error:
        print(f"the Windows lab failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{lab.root}: {answer}, after {time.monotonic() - began:.0f} s")  # noqa: T201
    return 0


def _ask(lab: Lab) -> str:
    answer = lab.run_python("-c", _QUESTION)
    if answer.returncode != 0:
        raise LabError(f"Windows CPython ended with status {answer.returncode}: {answer.stderr.strip()}")
    return answer.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
