"""What the live tests inject is harmless, here too: on a real Windows they can't be tried as often."""

import threading

from tests.windows_live.injection import create_remote_thread, target


def test_a_thread_in_another_process_runs_and_ends_and_the_process_goes_on():
    with target() as process:
        first, start = create_remote_thread(process.pid)
        second, again = create_remote_thread(process.pid)
        assert start == again != 0
        assert {first, second}.isdisjoint({0, threading.get_native_id()})
        assert process.poll() is None
