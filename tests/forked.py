"""Runs the command line without a start of Python, which is most of what it takes.

It runs in processes forked from one that has imported it; on Windows, where there is no fork, in the process of
the tests, which has its standard streams and folder as long.
"""

import contextlib
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import etwdetect.__main__
from etwdetect.cli import COMMANDS, main

ENTRY = etwdetect.__main__.__file__

POSSIBLE = "forkserver" in multiprocessing.get_all_start_methods()


def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *(f"etwdetect.cli.{command}" for command in COMMANDS)])
    return context


def _of_python(environment):
    """Return what Python reads at its start alone."""
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


CONTEXT = _context() if POSSIBLE else None
AT_START = _of_python(os.environ)


def run(arguments, timeout, cwd=None, **options):
    """Run `etwdetect` with *arguments*, as subprocess.run does that captures what is printed.

    One with *options* of subprocess.run has a Python of its own.
    """
    if options or _of_python(os.environ) != AT_START:
        command = [sys.executable, "-m", "etwdetect", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=timeout, cwd=cwd, **options)
    return _run_forked(arguments, timeout, cwd) if POSSIBLE else _run_here(arguments, cwd)


def _run_forked(arguments, timeout, cwd):
    with contextlib.ExitStack() as stack:
        ends = [CONTEXT.Pipe(duplex=False) for _ in range(2)]
        for each in (*ends[0], *ends[1]):
            stack.callback(each.close)
        environment = dict(os.environ)
        (out, to_out), (err, to_err) = ends
        process = CONTEXT.Process(target=_run, args=(arguments, cwd or Path.cwd(), environment, to_out, to_err))
        process.start()
        to_out.close()
        to_err.close()
        with ThreadPoolExecutor(2) as readers:
            printed = [readers.submit(_read, each) for each in (out, err)]
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired(arguments, timeout)
            texts = [each.result() for each in printed]
        done = subprocess.CompletedProcess(arguments, process.exitcode, *texts)
        process.close()
        return done


def _run_here(arguments, cwd):
    from unittest import mock  # noqa: PLC0415 (what is forked has imported what a command imports, and no more)

    kept = [os.dup(number) for number in range(3)]
    of_sys = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr", "argv")}
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        mock.patch.multiple(sys, **of_sys),
        mock.patch.dict(os.environ),
        contextlib.chdir(cwd or Path.cwd()),
    ):
        try:
            status = _as_a_command(arguments, out.fileno(), err.fileno())
        finally:
            for number, each in enumerate(kept):
                os.dup2(each, number)
                os.close(each)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


def _read(connection):
    with io.FileIO(connection.fileno(), closefd=False) as file:
        return file.readall()


def _run(arguments, folder, environment, out, err):
    """Become the process that `python -m etwdetect` is."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.exit(_as_a_command(arguments, out.fileno(), err.fileno()))


def _as_a_command(arguments, out, err):
    """Run the command line; its standard streams are nothing, and the files *out* and *err*."""
    null = os.open(os.devnull, os.O_RDONLY)
    for end, number in ((null, 0), (out, 1), (err, 2)):
        os.dup2(end, number)
    os.close(null)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.argv = [ENTRY, *arguments]
    try:
        return main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
