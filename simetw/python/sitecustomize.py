r"""Puts the lab's Python on a simulated machine where ETWDETECT_SIMETW names one.

Python runs this before anything else. Whatever a program then takes from advapi32, sechost or tdh is of that
machine; the program itself is unchanged. A service has the environment of the system's start, so a name in
``HKLM\SOFTWARE\simetw``, value Machine, is as good.
"""

import contextlib
import os
import winreg

if not os.environ.get("ETWDETECT_SIMETW"):
    with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\simetw") as key:
        os.environ["ETWDETECT_SIMETW"] = winreg.QueryValueEx(key, "Machine")[0]

if os.environ.get("ETWDETECT_SIMETW"):
    import ctypes
    from pathlib import Path

    _LIBRARY = Path(__file__).resolve().parents[2] / "build" / "simetw" / "simetw.dll"
    if not ctypes.CDLL(str(_LIBRARY)).sim_take_over():
        raise ImportError(f"{_LIBRARY} could not take over event tracing")
