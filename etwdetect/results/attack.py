"""MITRE ATT&CK in the tags of Sigma rules, and what other schemas call it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_TAG: Final = re.compile(r"attack\.(t[0-9]{4}(?:\.[0-9]{3})?)", re.IGNORECASE)

TACTICS: Final = {
    "reconnaissance": "TA0043",
    "resource-development": "TA0042",
    "initial-access": "TA0001",
    "execution": "TA0002",
    "persistence": "TA0003",
    "privilege-escalation": "TA0004",
    "defense-evasion": "TA0005",
    "credential-access": "TA0006",
    "discovery": "TA0007",
    "lateral-movement": "TA0008",
    "collection": "TA0009",
    "command-and-control": "TA0011",
    "exfiltration": "TA0010",
    "impact": "TA0040",
}
"""The ids of the tactics of ATT&CK for enterprises, by the names that tags have for them."""


def techniques(tags: Iterable[str]) -> list[str]:
    """Return the ids of the techniques in *tags* of a rule.

    >>> techniques(["attack.t1055.001", "attack.defense-evasion"])
    ['T1055.001']
    """
    return [found[1].upper() for found in map(_TAG.fullmatch, tags) if found]


def tactics(tags: Iterable[str]) -> list[str]:
    """Return the names of the tactics in *tags*; older rules write them with an underscore.

    >>> tactics(["attack.defense_evasion", "attack.t1055", "attack.s0002"])
    ['defense-evasion']
    """
    names = (
        tag.lower().removeprefix("attack.").replace("_", "-") for tag in tags if tag.lower().startswith("attack.")
    )
    return [name for name in names if name in TACTICS]


def tactic_title(name: str) -> str:
    """Return what ATT&CK calls the tactic that tags call *name*.

    >>> tactic_title("command-and-control")
    'Command and Control'
    """
    return name.replace("-", " ").title().replace(" And ", " and ")
