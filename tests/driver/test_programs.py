"""The programs of driver/tests, under the sanitizers."""

import subprocess

import pytest

NOTIFICATIONS = "300000"
"""By hand, ``build/driver/sim-tsan/Stress 10000000`` takes about a minute."""


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_stress_under_the_thread_sanitizer(tsan_programs):
    assert "storm:" in run(tsan_programs / "Stress", NOTIFICATIONS)


def test_stress_under_the_address_sanitizer(asan_programs):
    assert "storm:" in run(asan_programs / "Stress", NOTIFICATIONS)


def test_failing_memory_and_steps_under_the_address_sanitizer(asan_programs):
    assert "steps: 20" in run(asan_programs / "Faults")


def test_misuse_stops_the_kernel(sim_programs):
    cases = [line.split() for line in run(sim_programs / "Misuse").splitlines()]
    assert len(cases) == 18
    for case, stop_code in cases:
        done = subprocess.run([sim_programs / "Misuse", case], capture_output=True, text=True, check=False)
        assert done.returncode < 0, case
        assert f"*** STOP: {stop_code}: " in done.stderr, case


def test_the_sanitizer_builds_do_sanitize(asan_programs):
    # Freed twice: the simulated kernel notices first, and its report must reach us through the sanitizer.
    done = subprocess.run([asan_programs / "Misuse", "free-twice"], capture_output=True, text=True, check=False)
    assert "BAD_POOL_CALLER" in done.stderr


@pytest.mark.parametrize("name", ["own", "first", "remote"])
def test_the_cost_of_a_notification_is_measured(sim_programs, name):
    lines = [line.split() for line in run(sim_programs / "Cost", "2000").splitlines()]
    assert [int(entries) for case, entries, _ in lines if case == name] == [0, 1000, 16_000]
