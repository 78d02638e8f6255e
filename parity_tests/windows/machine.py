"""What the vm bench asks of the machine before it touches it: an administrator, and a virtual machine."""

from __future__ import annotations

import sys
from typing import Final

from etwdetect.core.errors import NotElevatedError
from parity_tests.errors import BenchUnavailableError

BIOS_KEY: Final = r"HARDWARE\DESCRIPTION\System\BIOS"
"""Where Windows keeps the words of the firmware's SMBIOS tables."""

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
    """Raise BenchUnavailableError elsewhere than on Windows."""
    if sys.platform != "win32":
        raise BenchUnavailableError(
            f"the vm bench is for a Windows test machine; this system is {sys.platform} (docs/parity-vm.md)"
        )


def require_administrator() -> None:
    """Raise NotElevatedError unless this process is elevated."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415

        if not ctypes.windll.shell32.IsUserAnAdmin():
            raise NotElevatedError("the vm bench")


def require_virtual_machine() -> None:
    """Raise BenchUnavailableError where the firmware is not that of a virtual machine.

    The hypervisor bit of the CPU would not do: it is set on every Windows that runs on Hyper-V itself, as those
    with memory integrity do.
    """
    words = bios_words()
    if not is_virtual(words):
        raise BenchUnavailableError(
            f"this does not look like a virtual machine ({', '.join(words) or 'its firmware tells nothing'}), and"
            " the vm bench attaches debuggers and makes threads in other programs; use a test machine, or say"
            " --not-a-vm"
        )


def is_virtual(words: list[str]) -> bool:
    """Whether these words of the firmware are those of a virtual machine."""
    text = " ".join(words).lower()
    return any(word in text for word in _VIRTUAL)


def bios_words() -> list[str]:
    """Return what the firmware says of who made this machine."""
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
