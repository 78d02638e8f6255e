"""etwdetect service: the monitor as a Windows service, started with Windows and again when it fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import config_file, note, say
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError, UnsupportedSystemError
from etwdetect.windows import access, libraries, services
from etwdetect.windows.libraries import SystemCallError, require_windows
from etwdetect.windows.service_process import ERROR_SERVICE_SPECIFIC, ServiceProcess
from etwdetect.windows.services import State

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "etwdetect"
KEY: Final = rf"SYSTEM\CurrentControlSet\Services\{NAME}\Parameters"
CONFIGURATION: Final = "Configuration"
DEGRADED: Final = "Degraded"
"""Values of KEY: the path of the configuration file, and what was amiss at the last start."""

LOG: Final = "service.log"
"""What the service says, beside its configuration."""

_SUBJECT: Final = "the etwdetect service"
_DESCRIPTION: Final = "Finds threads that one process creates in another, without a driver (etwdetect monitor)."
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
"""More than `monitor` takes to deliver what its session still holds, and its sinks to send it."""
_GONE_SECONDS: Final = 10.0
_DELAYS: Final = (5, 60, 300)
_RESET_SECONDS: Final = 86_400


class ServiceError(EtwDetectError):
    """The service cannot do what was requested."""


class _NotRunningError(ServiceError):
    """The service has no process."""


@click.group()
def command() -> None:
    """Run the monitor as a Windows service."""


@command.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.toml",
    help="Its configuration; by default service.toml in the folder etwdetect of %ProgramData%, made if need be.",
)
def install(config: Path | None) -> Status:
    """Install the service, to be started with Windows; one that is there runs this program from now on."""
    require_windows(_SUBJECT)
    program = _program()
    with services.manager(services.MANAGER_CREATE_SERVICE):  # says who may not, before anything is made
        before = services.state(NAME)
    known = services.read_text(KEY, CONFIGURATION)
    path = Path(os.path.abspath(config or known or _default_path()))  # noqa: PTH100 (resolve() changes drives)
    if config is None and known is None:
        _prepare_default(path)
    config_file.arguments(path)
    line = subprocess.list2cmdline([*program, "service", "run", "--config", str(path)])
    if before is None:
        services.create(NAME, line, kind=services.OWN_PROCESS, start=services.AUTO_START)
        services.describe(NAME, _DESCRIPTION)
        try:
            services.restart_on_failure(NAME, _DELAYS, _RESET_SECONDS)
        except SystemCallError as error:
            say(f"{error}; the service will not be restarted when it fails")
    else:
        services.change_command(NAME, line)
    services.write_text(KEY, CONFIGURATION, str(path))
    note(f"installed the service {NAME}, with the configuration {path}")
    if before not in (None, State.STOPPED):
        with contextlib.suppress(_NotRunningError):
            _stop()
        _start()
    return Status.DONE


@command.command()
def uninstall() -> Status:
    """Stop the service if it runs, and remove it; its configuration and output stay."""
    with contextlib.suppress(_NotRunningError):
        _stop()
    with _explained():
        services.delete(NAME)
    if services.wait_until_gone(NAME, _GONE_SECONDS):
        note(f"uninstalled the service {NAME}")
    else:
        say(f"the service {NAME} is uninstalled as soon as no program has it open")
    return Status.DONE


@command.command()
def start() -> Status:
    """Start the service, and wait until it watches."""
    _start()
    return Status.DONE


@command.command()
def stop() -> Status:
    """Stop the service, and wait until all it saw is written."""
    _stop()
    return Status.DONE


@command.command()
def status() -> Status:
    """Print whether the service runs, how it started, and where its configuration and log are."""
    require_windows(_SUBJECT)
    found = services.status(NAME)
    if found is None:
        click.echo(f"{NAME}: not installed")
        return Status.DONE
    current = State(found.dwCurrentState)
    path = Path(services.read_text(KEY, CONFIGURATION) or "")
    degraded = services.read_text(KEY, DEGRADED) if current == State.RUNNING else None
    ended = found.dwServiceSpecificExitCode if found.dwWin32ExitCode == ERROR_SERVICE_SPECIFIC else 0
    click.echo(f"{NAME}: {current.name.lower().replace('_', ' ')}")
    click.echo(f"configuration: {path}")
    click.echo(f"log: {path.with_name(LOG)}")
    if degraded:
        click.echo(f"degraded: {degraded}")
    if current == State.STOPPED and ended:
        click.echo(f"ended by itself with exit status {ended}; the log says why")
    return Status.INCOMPLETE if degraded or (current == State.STOPPED and ended) else Status.DONE


@command.command(hidden=True)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), required=True)
def run(config: Path) -> Status:
    """Be the service; the service manager starts this."""
    require_windows(_SUBJECT)
    process = ServiceProcess(NAME, lambda: signal.raise_signal(signal.SIGINT))  # as in a terminal
    process.connect()
    # The service manager waits a limited time for that, so the rest is loaded afterwards.
    from etwdetect.cli import service_run  # noqa: PLC0415

    return service_run.run(config, process)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise the service's own errors for those of Windows that have one."""
    require_windows(_SUBJECT)
    try:
        yield
    except SystemCallError as error:
        match error.code:
            case libraries.ERROR_SERVICE_DOES_NOT_EXIST:
                raise ServiceError(
                    f"the service {NAME} is not installed; install it with: etwdetect service install"
                ) from error
            case libraries.ERROR_SERVICE_REQUEST_TIMEOUT:
                raise ServiceError(
                    f"the service {NAME} did not answer within the time that Windows gives a start, 30 s unless "
                    "changed; this machine may be busy, start it again"
                ) from error
            case libraries.ERROR_SERVICE_ALREADY_RUNNING:
                raise ServiceError(f"the service {NAME} is already running") from error
            case libraries.ERROR_SERVICE_NOT_ACTIVE:
                raise _NotRunningError(f"the service {NAME} is not running") from error
        raise


def _start() -> None:
    with _explained():
        services.start(NAME)
    if services.wait_until_started(NAME, _START_SECONDS) != State.RUNNING:
        log = Path(services.read_text(KEY, CONFIGURATION) or "").with_name(LOG)
        raise ServiceError(f"the service {NAME} did not start; {log} and the event log Application say why")
    note(f"the service {NAME} is running")
    if degraded := services.read_text(KEY, DEGRADED):
        say(f"it started degraded: {degraded}")


def _stop() -> None:
    with _explained():
        if not services.stop(NAME, _STOP_SECONDS):
            raise ServiceError(f"the service {NAME} has not stopped after {_STOP_SECONDS:.0f} s")
    note(f"the service {NAME} has stopped")


def _program() -> tuple[str, ...]:
    """Return the command that starts this program, in the one process that the service manager starts."""
    if sys.prefix != sys.base_prefix:
        raise UnsupportedSystemError(
            "the service cannot run from a virtual environment, whose python.exe starts another process; "
            "use the .zip for Windows, or a Python of its own"
        )
    return sys.executable, "-I", "-m", "etwdetect"


def _default_path() -> Path:
    return Path(os.environ["PROGRAMDATA"], "etwdetect", "service.toml")


def _prepare_default(path: Path) -> None:
    """Make the folder and the configuration in it, and leave both to administrators, whoever made them before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        access.leave_to_administrators(path.parent)
        if path.exists():
            note(f"uses the configuration that is there: {path}")
        else:
            config_file.write_default(path)
        access.leave_to_administrators(path)
    except OSError as error:
        raise ServiceError(f"{error.filename or path} cannot be written: {error.strerror}") from error
