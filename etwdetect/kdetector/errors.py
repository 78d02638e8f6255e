"""What can go wrong with the driver; each message is one sentence that a user can act on."""

from __future__ import annotations

from etwdetect.core import errors


class KDetectorError(errors.EtwDetectError):
    """The driver, or the service that it is to Windows, can't do what it was asked."""


class UnsupportedSystemError(errors.UnsupportedSystemError, KDetectorError):
    """This system is not Windows, or this Python is not one for 64-bit Windows."""


class NotElevatedError(errors.NotElevatedError, KDetectorError):
    """Windows denied access: only elevated administrators may control or open the driver."""


class NotInstalledError(KDetectorError):
    """There is no such service."""

    def __init__(self) -> None:
        super().__init__("KDetector is not installed; install it with: etwdetect driver install KDetector.sys")


class AlreadyInstalledError(KDetectorError):
    """There is such a service already."""

    def __init__(self) -> None:
        super().__init__("KDetector is installed already; remove it first with: etwdetect driver uninstall")


class RemovalPendingError(KDetectorError):
    """The service is marked for deletion, and some program still holds a handle of it."""

    def __init__(self) -> None:
        super().__init__(
            "KDetector is being removed, but a program still holds its service open;"
            " close the Services window and its like, or restart Windows"
        )


class NotSignedError(KDetectorError):
    """Windows does not trust the driver's signature: ERROR_INVALID_IMAGE_HASH, 577."""

    def __init__(self) -> None:
        super().__init__(
            "Windows refused the driver's signature (577); on a test machine allow test-signed drivers with"
            " 'bcdedit /set testsigning on' and restart, elsewhere use a driver signed for release"
        )


class AlreadyRunningError(KDetectorError):
    """The driver is loaded already."""

    def __init__(self) -> None:
        super().__init__("KDetector is running already")


class NotRunningError(KDetectorError):
    """The driver is not loaded, so that it can't be stopped or opened."""

    def __init__(self) -> None:
        super().__init__("KDetector is not running; start it with: etwdetect driver start")


class StillStoppingError(KDetectorError):
    """The driver was asked to stop, but a program keeps its device open."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"KDetector has not stopped after {seconds:.0f} s: it unloads once every program has closed its device"
        )


class InUseError(KDetectorError):
    """Another program reads the records; KDetector lets one at a time do so."""

    def __init__(self) -> None:
        super().__init__("another program is reading from KDetector, which allows one reader at a time")


class DeviceGoneError(KDetectorError):
    """The driver was unloaded under an open handle."""

    def __init__(self) -> None:
        super().__init__("KDetector was unloaded while its device was open")


class WrongVersionError(KDetectorError):
    """The loaded driver speaks another version of the interface."""

    def __init__(self, version: int, record_size: int) -> None:
        self.version = version
        self.record_size = record_size
        super().__init__(
            f"the loaded KDetector has interface version {version} with records of {record_size} bytes;"
            " this program knows version 1 with 24 bytes: use the driver and the program of one release"
        )


class SystemCallError(KDetectorError):
    """Windows failed in a way that has no class of its own; *code* is the Win32 error."""

    def __init__(self, doing: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{doing}: {text.strip().rstrip('.')} ({code})")
