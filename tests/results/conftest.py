"""Detections to write down."""

from dataclasses import replace

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Calls, Detection, FiredRule, Process, Start

MIDNIGHT = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC."""


def at(hours, minutes, milliseconds):
    return MIDNIGHT + ((hours * 60 + minutes) * 60_000 + milliseconds) * 10_000


FULL = Detection(
    RemoteThread(132337624952800000, 7392, 4788, 8336, 9384, 0x7FFC6E27D3F0, ("session-start", "events-lost:3")),
    "etw",
    Process(
        7392,
        "C:\\windbg.exe",
        '"windbg.exe" -p 8336',
        5000,
        "C:\\Windows\\explorer.exe",
        "explorer.exe",
        "LAB\\mäx",
        1,
        132337624000000000,
        "39E4A257-E328-5F90-D310-000000000700",
    ),
    Process(8336, "notepad.exe", "notepad", 0, "parent.exe", "", "S-1-5-18", 0, 0, "39E4A257-0000-0000-0000-0"),
    Start("C:\\Windows\\System32\\ntdll.dll", 0xCD3F0, "DbgUiRemoteBreakin"),
    8,
    "WORKSTATION5",
    "debugger break-in",
    "it starts at DbgUiRemoteBreakin",
    "low",
    (("SourceUser", "not in the trace"), ("TargetUser", "not in the trace")),
    ("Remote Thread Created", "Another; rule"),
    3,
    132337624952900000,
    "C:=\\Device\\HarddiskVolume3",
    "traces.zip!a.etl",
    "0123456789abcdef" * 4,
    rule_name="technique_id=T1055",
    prior_access=(("UtcTime", "2020-05-12 13:08:15.265"), ("GrantedAccess", "0x1FFFFF")),
    container="0f5fb4d8-0c1a-4f2b-9f6a-000000000001",
    calls=Calls(
        "C:\\Windows\\System32\\ntdll.dll+9d4c4|UNKNOWN(000001A2B3C4D5E6)",
        "C:\\Windows\\System32\\ntoskrnl.exe+42fa00",
        "ntdll.dll|Unbacked",
        "ntdll.dll!NtCreateThreadEx+0x14|UNKNOWN(000001A2B3C4D5E6)",
    ),
    sigma_rules=(
        FiredRule(
            "Remote Thread Created",
            "99b97608-3e21-4bfe-8217-2a127c396a0e",
            "medium",
            ("attack.defense-evasion", "attack.t1055.001"),
            ("https://example.org/a",),
        ),
        FiredRule("Another; rule", level="low"),
    ),
    techniques=("T1055", "T1055.001"),
)
"""All that can be known."""

HOSTILE = '=\x1b[2J<script>\r\n\u202e\ud800\0"]\\.exe'
"""A name to do harm with."""

PLAIN = Detection(RemoteThread(at(13, 8, 15_280), 7392, 4788, 8336, 9384), "etw", Process(7392), Process(8336))


@pytest.fixture
def detection():
    """Make a detection that differs from the book's first line in what is asked for."""

    def make(source_image=None, target_image=None, pointer_size=8, **thread):
        thread = PLAIN.thread._replace(**thread)
        return replace(
            PLAIN,
            thread=thread,
            source=Process(thread.creator_pid, source_image),
            target=Process(thread.pid, target_image),
            pointer_size=pointer_size,
        )

    return make
