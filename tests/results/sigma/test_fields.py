"""The table of fields: it has all that a record has, and docs/reference/sigma-fields.md shows it as it is."""

from pathlib import Path

import pytest

from etwdetect.results.fields import NAMES, Availability, RecordSource
from etwdetect.results.sigma.fields import FIELDS, field_called, lacking

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "sigma-fields.md"

# Folding comes behind the rules, and the others are about the record, not about what happened.
NOT_ASKED_FOR = {
    "RecordId",
    "Trace",
    "TraceSha256",
    "PriorAccess",
    "AttackTechniques",
    "Sigma",
    "SigmaLevel",
    "SigmaRules",
    "Count",
    "LastTime",
    "Absent",
}


def row(*cells):
    return f"| {' | '.join(cells)} |"


def test_every_field_of_a_record_can_be_asked_for():
    ours = {field.name for field in FIELDS if field.constant is None}
    assert ours == set(NAMES) - NOT_ASKED_FOR


def test_the_documentation_shows_which_source_has_which_field():
    text = DOCS.read_text("utf-8")
    rows = [
        row(f"`{field.name}`", *(field.availability(source).value for source in RecordSource)) for field in FIELDS
    ]
    assert "\n".join(rows) in text


def test_a_field_is_found_in_upper_and_lower_case():
    assert field_called("startmodule") == field_called("StartModule") != field_called("StartFunction")
    assert field_called("User") == field_called("SourceUser")
    assert field_called("CommandLine") is None


def test_what_a_source_lacks_is_what_the_table_says_no_to():
    assert lacking([RecordSource.KERNEL_PROCESS]) == {
        field.name for field in FIELDS if field.availability(RecordSource.KERNEL_PROCESS) is Availability.NO
    }
    assert "SourceCommandLine" in lacking([RecordSource.KERNEL_PROCESS])
    assert lacking([RecordSource.LIVE]) == {
        "AssumedDrive",
        "CallKernel",
        "CallSummary",
        "CallSymbols",
        "CallTrace",
        "Container",
        "RuleName",
    }
    assert lacking([]) == frozenset()


def test_sources_together_lack_what_each_of_them_lacks():
    both = lacking([RecordSource.KERNEL_PROCESS, RecordSource.KERNEL_LOGGER])
    assert both == lacking([RecordSource.KERNEL_PROCESS]) & lacking([RecordSource.KERNEL_LOGGER])
    assert both == {"RuleName"}


@pytest.mark.parametrize(
    ("known", "more"),
    [
        ({"functions": False}, {"StartFunction"}),
        ({"modules": False}, {"StartFunction", "StartModule", "StartModuleOffset"}),
    ],
)
def test_without_images_nothing_tells_of_functions_and_modules(known, more):
    assert lacking([RecordSource.KERNEL_LOGGER], **known) - lacking([RecordSource.KERNEL_LOGGER]) == more
