"""What rules make of a call stack: they name, and they raise a severity, and never lower one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.absent import NO_EXPORT, OUTSIDE
from etwdetect.enrich.call_fields import CALL_FIELDS
from etwdetect.enrich.detection import Calls, Detection, Process, Start
from etwdetect.enrich.kind_rules import SEVERITIES, builtin, parse
from etwdetect.enrich.kinds import Kinds

SYSTEM32 = "C:\\Windows\\System32\\"
NTDLL = f"{SYSTEM32}ntdll.dll"
BREAK_IN = Start(NTDLL, 1, "DbgUiRemoteBreakin")
ENTRY = "\\SystemRoot\\system32\\ntoskrnl.exe+7a053"
CREATED = f"\\SystemRoot\\system32\\ntoskrnl.exe+42fa00|{ENTRY}"
NESTED = f"\\SystemRoot\\system32\\ntoskrnl.exe+42fa00|{ENTRY}|\\SystemRoot\\system32\\ntoskrnl.exe+7f230|{ENTRY}"
OUTSIDE_FRAME = "UNKNOWN(000001A2B3C4D5E6)"


def detection(calls, start=BREAK_IN, absent=()):
    thread = RemoteThread(1, 10, 11, 20, 21, 0x7FFC_0000_1000)
    return Detection(thread, "etw", Process(10), Process(20), start, calls=calls, absent=tuple(absent))


def field(name, **calls):
    return CALL_FIELDS[name](detection(Calls(**calls)))


def judged(start=BREAK_IN, **calls):
    found = Kinds().classify(detection(Calls(**calls), start))
    return found.kind, found.severity


def test_without_a_stack_nothing_is_known():
    assert all(CALL_FIELDS[name](detection(Calls())) is None for name in CALL_FIELDS)


def test_frames_are_fields_one_by_one():
    assert field("CallTrace", trace="a.dll+1|b.dll+2") == ("a.dll+1", "b.dll+2")
    assert field("CallKernel", kernel=CREATED) == (CREATED.split("|", maxsplit=1)[0], ENTRY)


def test_whether_the_user_part_is_there_is_a_field():
    assert field("CallUserPart", trace="a.dll+1", kernel=CREATED) == "yes"
    assert field("CallUserPart", kernel=CREATED) == "no"


@pytest.mark.parametrize(
    ("summary", "unbacked"),
    [("ntdll.dll|Unbacked", "yes"), ("ntdll.dll|Unknown", None), ("ntdll.dll|a.exe", "no")],
)
def test_code_in_no_image_is_told_where_all_images_are_known(summary, unbacked):
    assert field("CallUnbacked", summary=summary) == unbacked


@pytest.mark.parametrize(
    ("summary", "native"),
    [
        ("ntdll.dll|a.exe", "yes"),
        ("ntdll.dll|a.exe|kernel32.dll|ntdll.dll", "yes"),
        ("ntdll.dll|Unbacked|kernelbase.dll", "yes"),
        ("wow64cpu.dll|wow64.dll|ntdll.dll|a.exe|kernel32.dll", "yes"),
        ("ntdll.dll|wow64.dll|wow64cpu.dll|ntdll.dll|kernelbase.dll|a.exe", "no"),
        ("ntdll.dll|kernelbase.dll|a.exe", "no"),
        ("ntdll.dll|kernel32.dll|a.exe", "no"),
        ("a.exe|ntdll.dll", "no"),
        ("ntdll.dll", None),
        ("ntdll.dll|Unknown|a.exe", None),
        ("Unknown|a.exe", None),
        ("ntdll.dll|?|a.exe", None),
        ("?|a.exe", None),
    ],
)
def test_a_call_of_ntdll_that_passed_kernelbase_by_is_native(summary, native):
    assert field("CallNative", summary=summary) == native


@pytest.mark.parametrize(
    ("frame", "direct"),
    [
        (f"{NTDLL}+36bb", "no"),
        ("\\SystemRoot\\System32\\NTDLL.dll+36bb", "no"),
        (f"{SYSTEM32}win32u.dll+1", "no"),
        (f"{SYSTEM32}wow64cpu.dll+1", "no"),
        (f"{SYSTEM32}xtajit64.dll+1", "no"),
        ("C:\\Users\\x\\ntdll.dll+36bb", "yes"),
        ("C:\\evil.exe+1234", "yes"),
        ("\\\\?\\C:\\Windows\\System32\\ntdll.dll+1", "no"),
        ("\\\\?\\C:\\x\\Windows\\System32\\ntdll.dll+1", "yes"),
        ("\\Device\\vmsmb\\VSMB-{dc}\\os\\Windows\\System32\\ntdll.dll+1", None),
        ("\\Device\\VhdHardDisk{0b}\\Windows\\SysWOW64\\win32u.dll+1", None),
        ("\\Device\\VhdHardDisk{0b}\\x\\ntdll.dll+1", "yes"),
        ("ntdll.dll+1", None),
        ("evil.exe+1", "yes"),
        ("?+1", None),
        (OUTSIDE_FRAME, "yes"),
    ],
)
def test_a_system_call_outside_windows_own_modules_for_it_is_direct(frame, direct):
    summary = "Unbacked" if frame == OUTSIDE_FRAME else "some.dll"
    assert field("CallDirectSyscall", trace=f"{frame}|{NTDLL}+1", summary=summary) == direct


def test_where_not_all_images_are_known_a_frame_outside_them_is_no_direct_system_call():
    assert field("CallDirectSyscall", trace=OUTSIDE_FRAME, summary="Unknown") is None


def test_a_kernel_part_that_enters_the_kernel_twice_is_nested():
    assert field("CallNested", kernel=NESTED) == "yes"
    assert field("CallNested", kernel=CREATED) == "no"


def test_the_function_that_asked_is_the_outermost_of_those_that_make_remote_threads():
    symbols = "ntdll.dll!NtCreateThreadEx+0x14|KERNELBASE.dll!CreateRemoteThreadEx+0x2a0|a.exe+12"
    assert field("CallAsked", symbols=symbols) == "CreateRemoteThreadEx"
    assert field("CallAsked", symbols=symbols + "|kernel32.dll!CreateRemoteThread+0x3a") == "CreateRemoteThread"
    assert field("CallFunctions", symbols=symbols) == (
        "ntdll.dll!NtCreateThreadEx",
        "KERNELBASE.dll!CreateRemoteThreadEx",
    )


@pytest.mark.parametrize(("distance", "entry"), [("14", "ntdll.dll!NtX"), ("1f", "ntdll.dll!NtX"), ("20", None)])
def test_the_function_that_calls_the_kernel_is_near(distance, entry):
    assert field("CallEntry", symbols=f"ntdll.dll!NtX+0x{distance}|a.exe+1") == entry


# -- the built-in rules


def test_a_frame_in_no_image_raises_the_severity_unless_a_runtime_makes_code():
    calls = {"trace": f"{NTDLL}+1|{OUTSIDE_FRAME}", "summary": "ntdll.dll|Unbacked"}
    assert judged(**calls) == ("debugger break-in", "high")
    assert judged(**calls, runtime="clr.dll") == ("debugger break-in", "low")


def test_a_direct_system_call_raises_the_severity():
    assert judged(trace="C:\\evil.exe+1", summary="evil.exe") == ("debugger break-in", "high")


def test_setting_the_worker_factory_of_another_process_raises_the_severity():
    calls = {"trace": f"{NTDLL}+466b", "summary": "ntdll.dll", "kernel": NESTED}
    symbols = "ntdll.dll!NtSetInformationWorkerFactory+0x14"
    assert judged(Start(NTDLL, 1, pool=True), **calls, symbols=symbols) == ("thread-pool worker", "high")


def test_a_thread_made_inside_another_system_service_is_named_and_no_less_severe():
    assert judged(Start(NTDLL, 1), kernel=NESTED) == ("made inside another call", "medium")
    assert judged(Start(NTDLL, 1), kernel=CREATED) == (None, "medium")
    assert judged(Start(NTDLL, 1, pool=True), kernel=NESTED) == ("thread-pool worker", "medium")
    assert judged(Start(SYSTEM32 + "kernel32.dll", 1, "LoadLibraryA"), kernel=NESTED) == ("library load", "high")


def test_ntdll_called_without_kernelbase_is_told_and_raises_nothing():
    calls = {"trace": f"{NTDLL}+1|C:\\a.exe+1|{SYSTEM32}kernel32.dll+1", "summary": "ntdll.dll|a.exe|kernel32.dll"}
    for kernel in (None, CREATED):
        found = Kinds().classify(detection(Calls(**calls, kernel=kernel)))
        assert (found.kind, found.severity) == ("debugger break-in", "low")
        assert found.reason.endswith(
            "; the source called ntdll.dll itself, not through kernelbase.dll as programs do"
        )
    nested = Kinds().classify(detection(Calls(**calls, kernel=NESTED)))
    assert "kernelbase" not in nested.reason


def test_the_function_that_asked_is_told_and_raises_nothing():
    symbols = "ntdll.dll!NtCreateThreadEx+0x14|ntdll.dll!DbgUiIssueRemoteBreakin+0x4a"
    found = Kinds().classify(detection(Calls(f"{NTDLL}+1", summary="ntdll.dll", symbols=symbols)))
    assert (found.kind, found.severity) == ("debugger break-in", "low")
    assert found.reason.endswith("; its creator's call stack has DbgUiIssueRemoteBreakin, which asked for it")


def test_the_reason_has_what_raised_the_severity():
    found = Kinds().classify(detection(Calls(trace="C:\\evil.exe+1", summary="evil.exe")))
    assert found.reason.endswith("; the source called the kernel past ntdll.dll")


def test_of_an_unknown_kind_too_the_reason_has_what_raised_the_severity():
    found = Kinds().classify(detection(Calls(trace="C:\\evil.exe+1", summary="evil.exe"), Start(NTDLL, 1)))
    assert (found.kind, found.severity) == (None, "high")
    assert dict(found.absent)["Kind"].endswith("; the source called the kernel past ntdll.dll")


def test_no_built_in_rule_that_asks_for_a_stack_assigns_a_severity():
    asking = [rule for rule in builtin() if any(each.field in CALL_FIELDS for each in rule.when)]
    assert asking
    assert all(rule.severity is None for rule in asking)


TEXTS = st.sampled_from([NTDLL, "csrss.exe", "\\Windows\\System32\\csrss.exe", "CtrlRoutine", "LoadLibraryA", "x"])
FRAMES = st.lists(
    st.sampled_from([f"{NTDLL}+1", "C:\\evil.exe+1", OUTSIDE_FRAME, ENTRY, "", "+", "a!b+0x1", "a!b+0xg", "!"]),
    min_size=1,
).map("|".join)
CALLS = st.builds(
    Calls,
    st.none() | FRAMES,
    st.none() | FRAMES,
    st.none() | st.sampled_from(["ntdll.dll", "ntdll.dll|Unbacked", "Unknown", "|", "Unbacked"]),
    st.none() | FRAMES | st.just("ntdll.dll!NtSetInformationWorkerFactory+0x14"),
    st.none() | st.just("clr.dll"),
)


@given(
    CALLS,
    st.builds(Start, st.none() | TEXTS, st.none() | st.just(1), st.none() | TEXTS, st.booleans()),
    st.none() | TEXTS,
    st.lists(st.sampled_from([("StartModule", OUTSIDE), ("StartFunction", NO_EXPORT)]), max_size=2),
)
def test_a_stack_never_lowers_a_severity(calls, start, image, absent):
    found = replace(detection(calls, start, absent), source=Process(10, image))
    with_stack, without = (Kinds().classify(each) for each in (found, replace(found, calls=Calls())))
    assert SEVERITIES.index(with_stack.severity) <= SEVERITIES.index(without.severity)


# -- rules of one's own


def own(**keys):
    rule = "[[rule]]\n" + "\n".join(f"{key} = {value}" for key, value in ({"name": "'mine'"} | keys).items())
    return Kinds(parse(rule, "own.toml"))


def test_a_rule_of_ones_own_can_ask_for_frames():
    kinds = own(kind="'my kind'", when="{CallTrace = '*\\evil.exe+*'}")
    assert kinds.classify(detection(Calls(f"{NTDLL}+1|C:\\evil.exe+12"))).kind == "my kind"
    assert kinds.classify(detection(Calls(f"{NTDLL}+1"))).kind == "debugger break-in"


def test_a_least_severity_raises_what_later_rules_decide_and_nothing_else():
    kinds = own(at_least="'medium'", when="{}")
    assert kinds.classify(detection(Calls())).severity == "medium"
    load = Start(SYSTEM32 + "kernel32.dll", 1, "LoadLibraryA")
    assert kinds.classify(detection(Calls(), load)).severity == "high"


def test_a_severity_of_ones_own_is_not_raised_by_a_built_in_rule():
    kinds = own(severity="'low'", when="{SourceProcessId = 10}")
    assert kinds.classify(detection(Calls("C:\\evil.exe+1", summary="evil.exe"))).severity == "low"
