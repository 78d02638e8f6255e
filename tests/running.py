"""etwdetect as a process of its own, as a user starts it, and what it prints as that comes."""

import ctypes
import queue
import re
import subprocess
import sys
import threading
import time

CTRL_C, CTRL_BREAK, CTRL_CLOSE, CTRL_LOGOFF = 0, 1, 2, 5
LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3}: Remote Thread from PID: (\d+) TID: (\d+) -> PID: (\d+) TID: (\d+)(.*)")
PATIENCE = 60.0

_ALL_ACCESS = 0x1F_FFFF


class Running:
    """A running command. Without *reading*, its output is left to the test."""

    def __init__(self, *arguments, reading=True):
        self.process = subprocess.Popen(
            (sys.executable, "-m", "etwdetect", *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.lines, self.errors = queue.Queue(), queue.Queue()
        pairs = [(self.process.stderr, self.errors), *([(self.process.stdout, self.lines)] if reading else [])]
        self._readers = [threading.Thread(target=self._collect, args=pair, daemon=True) for pair in pairs]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _collect(stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))

    def line(self):
        return self.lines.get(timeout=PATIENCE)

    def error(self):
        return self.errors.get(timeout=PATIENCE)

    def press(self, event):
        """Do what a console does to a program in it: make a thread there that starts at CtrlRoutine."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        for function in (kernel32.OpenProcess, kernel32.GetModuleHandleW, kernel32.GetProcAddress):
            function.restype = ctypes.c_void_p
        kernel32.GetProcAddress.argtypes = ctypes.c_void_p, ctypes.c_char_p
        kernel32.CreateRemoteThread.argtypes = (
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong,
            ctypes.c_void_p,
        )  # fmt: skip
        kernel32.CreateRemoteThread.restype = ctypes.c_void_p
        routine = kernel32.GetProcAddress(kernel32.GetModuleHandleW("kernelbase"), b"CtrlRoutine")
        process = kernel32.OpenProcess(_ALL_ACCESS, 0, self.process.pid)
        assert kernel32.CreateRemoteThread(process, None, 0, routine, event, 0, None)

    def stop(self):
        """Press Ctrl+C, which shows what has come by then, and wait for the `end`."""
        self.press(CTRL_C)
        return self.end()

    def end(self):
        """Wait for the end; return the exit status and what was printed on both since it was last looked at."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status, list(self.lines.queue), list(self.errors.queue)

    def close(self):
        self.process.kill()
        self.end()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if not stream.closed:
                stream.close()


def until(condition, what):
    """Wait until *condition* holds, and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (held := condition()):
        assert time.monotonic() < deadline, f"not after {PATIENCE:.0f} s: {what}"
        time.sleep(0.02)
    return held


def ids(line):
    """The four ids of a line in the text or classic format, and what stands behind them."""
    found = LINE.fullmatch(line)
    assert found, line
    return (*map(int, found.groups()[:4]), found[5].strip())
