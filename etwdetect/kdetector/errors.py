"""The errors of the driver and its service; each message is one sentence that a user can act on."""

from __future__ import annotations

from typing import Final

from etwdetect.core.errors import EtwDetectError


class KDetectorError(EtwDetectError):
    """The driver or its service cannot do what was requested."""


class NotInstalledError(KDetectorError):
    """The driver's service does not exist."""

    def __init__(self) -> None:
        super().__init__("KDetector is not installed; install it with: etwdetect driver install KDetector.sys")


class AlreadyInstalledError(KDetectorError):
    """The driver's service exists already."""

    def __init__(self) -> None:
        super().__init__("KDetector is already installed; remove it first with: etwdetect driver uninstall")


class RemovalPendingError(KDetectorError):
    """The service is marked for deletion, but a program holds a handle to it."""

    def __init__(self) -> None:
        super().__init__(
            "KDetector is being removed, but a program still has its service open;"
            " close programs such as the Services window, or restart Windows"
        )


class NotSignedError(KDetectorError):
    """Windows does not trust the driver's signature: ERROR_INVALID_IMAGE_HASH, 577."""

    def __init__(self) -> None:
        super().__init__(
            "Windows refused the driver's signature (577); on a test machine allow test-signed drivers with"
            " 'bcdedit /set testsigning on' and restart, elsewhere use a driver signed for release"
        )


class BlockedError(KDetectorError):
    """Windows refused to load the driver for another reason than its signature; *code* is the Win32 error."""

    REASONS: Final = {
        1275: "its list of blocked drivers, or memory integrity, has it",
        4551: "Smart App Control or an App Control policy does not allow it",
    }

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"Windows blocked the driver ({code}): {self.REASONS[code]}")


class RefusedError(KDetectorError):
    """Starting the driver was refused to an administrator: ERROR_ACCESS_DENIED, 5."""

    def __init__(self) -> None:
        super().__init__(
            "starting KDetector: access denied (5), though this program is elevated; the driver was linked without"
            " /INTEGRITYCHECK, or a security product refuses it"
        )


class AlreadyRunningError(KDetectorError):
    """The driver is already loaded."""

    def __init__(self) -> None:
        super().__init__("KDetector is already running")


class NotRunningError(KDetectorError):
    """The driver is not loaded, so it cannot be stopped or opened."""

    def __init__(self) -> None:
        super().__init__("KDetector is not running; start it with: etwdetect driver start")


class StillStoppingError(KDetectorError):
    """The driver was told to stop, but a program has its device open."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"KDetector has not stopped after {seconds:.0f} s; it unloads when every program has closed its device"
        )


class InUseError(KDetectorError):
    """Another program reads the records; KDetector allows one reader at a time."""

    def __init__(self) -> None:
        super().__init__("another program is reading from KDetector, which allows one reader at a time")


class DeviceGoneError(KDetectorError):
    """The driver was unloaded while its device was open."""

    def __init__(self) -> None:
        super().__init__("KDetector was unloaded while its device was open")


class WrongVersionError(KDetectorError):
    """The loaded driver has another version of the interface."""

    def __init__(self, version: int, record_size: int) -> None:
        self.version = version
        self.record_size = record_size
        super().__init__(
            f"the loaded KDetector has interface version {version} with records of {record_size} bytes;"
            " this program supports version 1 with 24 bytes: use driver and program from the same release"
        )
