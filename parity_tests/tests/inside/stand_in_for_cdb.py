"""A stand-in for cdb, for tests alone: `stand_in_for_cdb.py [OPTION...] (-p PID | COMMAND)`, in the Windows lab.

It is a real debugger, by the debug API, and takes the orders that parity_tests.windows.cdb gives, in the words
of cdb's documentation. It breaks in when the event named after its process id is set, because Wine has no
Ctrl+Break. It notifies both detectors of its threads itself, as every creator of threads does in Wine.
The environment variable STAND_IN_FOR_CDB says what it is to do wrong.
"""

import ctypes
import msvcrt
import os
import queue
import struct
import subprocess
import sys
import threading
from ctypes import wintypes

from parity_tests.windows import api
from parity_tests.windows.notifier import Notifier

EVENT_NAME = "etwdetect-break-{}"
FAULT = os.environ.get("STAND_IN_FOR_CDB")
EXCEPTION, CREATED_PROCESS, EXITED_PROCESS = 1, 3, 5
CONTINUE, NOT_HANDLED = 0x0001_0002, 0x8001_0001
FOREVER = 0xFFFF_FFFF

kernel32 = ctypes.WinDLL("kernel32")
kernel32.CreateEventW.restype = wintypes.HANDLE
kernel32.CreateEventW.argtypes = wintypes.LPVOID, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR
kernel32.WaitForSingleObject.argtypes = wintypes.HANDLE, wintypes.DWORD


def say(line, end="\n"):
    sys.stdout.write(line + end)
    sys.stdout.flush()


class Debugger:
    """Debugs one process on the main thread; the thread that serves breaks is another one, as in cdb."""

    def __init__(self):
        self.notifier = Notifier()
        self.pid = 0
        self.stands_still = True
        self.breaking = False
        self.broken = queue.Queue()
        self.notified = threading.Event()
        self.asked_to_break = kernel32.CreateEventW(None, 0, 0, EVENT_NAME.format(os.getpid()))
        threading.Thread(target=self.serve_breaks, daemon=True).start()

    def attach(self, pid):
        self.pid = pid
        api.debug(pid)
        self.debug(lambda tid: self.notifier.thread_created(pid, tid))

    def start(self, command):
        """Start *command*, without our handles (-noinh)."""
        api.keep_standard_handles()
        for stream in range(3):
            os.set_handle_inheritable(msvcrt.get_osfhandle(stream), 0)
        started = api.start_process(command, debugged=True)
        api.survive()
        self.pid = started.pid
        self.notifier.process_created(started, command, None)
        self.notifier.thread_created(*started)
        self.debug(lambda _: None)

    def look(self, pid):
        api.suspend_process(pid)
        self.take_commands(pid, 0x1234)
        api.resume_process(pid)

    def serve_breaks(self):
        while kernel32.WaitForSingleObject(self.asked_to_break, FOREVER) == 0:
            if self.stands_still:
                continue  # as cdb: nothing is there to be broken into, and the break is lost
            self.breaking = True
            api.break_into(self.pid)
            self.notifier.thread_created(self.pid, self.broken.get())
            self.notified.set()

    def debug(self, first_stop):
        """Take what happens in the debuggee, and commands whenever it stands still, until it or we go."""
        event = ctypes.create_string_buffer(176)
        while True:
            self.stands_still = False
            kernel32.WaitForDebugEvent(event, FOREVER)
            self.stands_still = True
            kind, pid, tid, exception = struct.unpack_from("<III4xI", event)
            goes_on = CONTINUE
            if kind == EXCEPTION and exception == api.BREAKPOINT:
                if self.breaking:
                    self.broken.put(tid)
                    self.notified.wait()
                    self.notified.clear()
                    self.breaking = False
                else:
                    first_stop(tid)
                code = (
                    "Access violation - code c0000005"
                    if FAULT == "other exception"
                    else "Break instruction exception - code 80000003"
                )
                say(f"({pid:x}.{tid:x}): {code} (first chance)")
                if not self.take_commands(pid, tid):
                    kernel32.ContinueDebugEvent(pid, tid, CONTINUE)
                    api.stop_debugging(pid)
                    return
            elif kind == EXCEPTION:
                goes_on = NOT_HANDLED
            kernel32.ContinueDebugEvent(pid, tid, goes_on)
            if kind == EXITED_PROCESS:
                return

    def take_commands(self, pid, tid):
        """Do what standard input says; return whether the debuggee is to go on, rather than to be let go."""
        while True:
            say("0:001> ", end="")
            match sys.stdin.readline().split():
                case ["~."]:
                    say(f".  1  Id: {pid:x}.{tid:x} Suspend: 1 Teb: 00000074`0c5f4000 Unfrozen")
                    say("      Start: ntdll!DbgUiRemoteBreakin (00007ffc`2f0e0f60)")
                case [".echo", word]:
                    say(word)
                case ["g"]:
                    return True
                case ["qd"] | []:
                    return False


def main():
    match sys.argv[1:]:
        case ["-pd", "-G", "-sins", *_] if FAULT == "ends":
            say("Win32 error 0n5")
        case ["-pd", "-G", "-sins", *_] if FAULT == "silence":
            sys.stdin.read()
        case ["-pd", "-G", "-sins", "-p", pid]:
            Debugger().attach(int(pid))
        case ["-pd", "-G", "-sins", "-pv", "-p", pid]:
            Debugger().look(int(pid))
        case ["-pd", "-G", "-sins", "-2", "-noinh", *command]:
            Debugger().start(subprocess.list2cmdline(command))
        case others:
            say(f"no such options: {others}")


if __name__ == "__main__":
    main()
