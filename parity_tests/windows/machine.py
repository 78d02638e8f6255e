"""What the vm bench requires of the machine: Windows, an administrator, and a virtual machine."""

from __future__ import annotations

import sys
from typing import Final

from etwdetect.core.errors import NotElevatedError
from parity_tests.errors import BenchUnavailableError

BIOS_KEY: Final = r"HARDWARE\DESCRIPTION\System\BIOS"
"""The registry key with the strings of the firmware's SMBIOS tables."""

BIOS_VALUES: Final = ("SystemManufacturer", "SystemProductName", "BIOSVendor")

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
    words: list[str] = []
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only Windows has it)

        for name in BIOS_VALUES:
            try:
                with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, BIOS_KEY) as key:
                    words.append(str(winreg.QueryValueEx(key, name)[0]))
            except OSError:
                continue
    return words
