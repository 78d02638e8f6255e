"""What the vm bench requires of the machine, and what evidence and results say about it."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import sys
from typing import TYPE_CHECKING, Final

from etwdetect._version import __version__
from etwdetect.core.errors import NotElevatedError
from parity_tests.errors import BenchUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

BIOS_KEY: Final = r"HARDWARE\DESCRIPTION\System\BIOS"
"""The registry key with the strings of the firmware's SMBIOS tables."""

BIOS_VALUES: Final = ("SystemManufacturer", "SystemProductName", "BIOSVendor")

MINIMAL: Final = frozenset(("memcompression", "memory compression", "registry", "secure system"))
"""The names of minimal processes, which have no program: in small letters, as several tools call them."""

_VERSION_KEY: Final = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_VERSION_VALUES: Final = ("ProductName", "DisplayVersion", "CurrentBuildNumber", "UBR", "EditionID")

_VIRTUAL: Final = (
    "virtual",  # Microsoft "Virtual Machine" (Hyper-V, Azure), VMware "Virtual Platform", VirtualBox
    "vmware",
    "qemu",
    "kvm",
    "xen",
    "bochs",
    "parallels",
    "bhyve",
    "openstack",
    "amazon ec2",
    "google compute engine",
)


def require_windows() -> None:
    """Raise BenchUnavailableError on any system but Windows."""
    if sys.platform != "win32":
        raise BenchUnavailableError(
            f"the vm bench needs a Windows test machine; this system is {sys.platform}"
            " (docs/user/parity-vm.md in the repository)"
        )


def require_administrator() -> None:
    """Raise NotElevatedError unless this process is elevated."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        if not ctypes.windll.shell32.IsUserAnAdmin():
            raise NotElevatedError("the vm bench")


def require_virtual_machine() -> None:
    """Raise BenchUnavailableError unless the firmware is that of a virtual machine.

    The hypervisor bit of the CPU is no sign: it is also set on physical machines with memory integrity, on which
    Windows itself runs on Hyper-V.
    """
    words = bios_words()
    if not is_virtual(words):
        found = ", ".join(words) or "no firmware strings"
        raise BenchUnavailableError(
            f"this does not look like a virtual machine ({found}), and the vm bench attaches debuggers to other"
            " programs and creates threads in them; use a test machine, or pass --not-a-vm"
        )


def is_virtual(words: list[str]) -> bool:
    """Return whether these strings of the firmware are those of a virtual machine."""
    text = " ".join(words).lower()
    return any(word in text for word in _VIRTUAL)


def bios_words() -> list[str]:
    """Return the firmware's strings for manufacturer, product and BIOS vendor."""
    return list(_registry_values(BIOS_KEY, BIOS_VALUES).values())


def minimal_processes(pids: Iterable[int]) -> dict[int, str]:
    """Return the names of those of the running processes *pids* that are minimal ones."""
    import psutil  # noqa: PLC0415 (lazy import: installed on Windows only)

    found = {}
    for pid in set(pids):
        with contextlib.suppress(psutil.Error, OSError):
            name = psutil.Process(pid).name()
            if name.lower() in MINIMAL:
                found[pid] = name
    return found


def versions() -> dict[str, str]:
    """Return what evidence says about programs and system; what is not known is left out."""
    found = {"etwdetect": __version__, "Python": platform.python_version(), "Machine": platform.machine()}
    found |= _registry_values(_VERSION_KEY, _VERSION_VALUES)
    if sys.platform == "win32":
        from etwdetect.kdetector import service  # noqa: PLC0415 (the client of a Windows driver)

        with contextlib.suppress(OSError):
            found["KDetector.sys"] = f"SHA-256 {hashlib.sha256(service.file().read_bytes()).hexdigest()}"
    return found


def _registry_values(key_path: str, names: Iterable[str]) -> dict[str, str]:
    """Return the values called *names* of a key below HKEY_LOCAL_MACHINE, those that there are."""
    found: dict[str, str] = {}
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only Windows has it)

        for name in names:
            with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key_path) as key:
                found[name] = str(winreg.QueryValueEx(key, name)[0])
    return found
