"""Runs the command line in processes forked from one that has imported it, which is most of what a start takes."""

import contextlib
import io
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import etwdetect.__main__
from etwdetect.cli import COMMANDS, main

ENTRY = etwdetect.__main__.__file__

POSSIBLE = "forkserver" in multiprocessing.get_all_start_methods()
"""Not on Windows."""


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
    if options or not POSSIBLE or _of_python(os.environ) != AT_START:
        command = [sys.executable, "-m", "etwdetect", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=timeout, cwd=cwd, **options)
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


def _read(connection):
    with io.FileIO(connection.fileno(), closefd=False) as file:
        return file.readall()


def _run(arguments, folder, environment, out, err):
    """Become the process that `python -m etwdetect` is."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for end, number in ((out, 1), (err, 2)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = [ENTRY, *arguments]
    sys.exit(main())
