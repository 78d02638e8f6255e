"""The files that only the WDK reads: they must know every source, and say what the build depends on."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[2] / "driver"
KDETECTOR = DRIVER / "KDetector"
PROJECT = ET.parse(KDETECTOR / "KDetector.vcxproj").getroot()

RAISES = {"ExAcquireFastMutex": "ExReleaseFastMutex"}
"""The routines that raise the IRQL for their caller, and what lowers it again."""


def elements(name):
    return PROJECT.findall(f".//{{*}}{name}")


def value(name):
    """Return the text of the one property *name*, wherever it stands."""
    (found,) = elements(name)
    return found.text


@pytest.mark.parametrize(("item", "pattern"), [("ClCompile", "*.cpp"), ("ClInclude", "*.h")])
def test_the_project_has_every_file(item, pattern):
    listed = [element.get("Include") for element in PROJECT.findall(f"{{*}}ItemGroup/{{*}}{item}")]
    assert sorted(listed) == sorted(path.name for path in KDETECTOR.glob(pattern))


def test_the_project_links_with_integrity_check():
    options = value("AdditionalOptions")
    assert "/INTEGRITYCHECK" in options.split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DriverTargetPlatform", "Desktop"),
        ("DriverType", "WDM"),
        ("PlatformToolset", "WindowsKernelModeDriver10.0"),
        ("SpectreMitigation", "Spectre"),
        ("_NT_TARGET_VERSION", "0xA000006"),
    ],
)
def test_what_the_toolset_must_know_is_said_once(name, expected):
    assert value(name) == expected


def test_properties_of_the_toolset_stand_before_its_own_files_are_imported():
    order = [element.get("Label") or element.get("Project") for element in PROJECT]
    configuration = order.index("Configuration")
    assert order.index("$(VCTargetsPath)\\Microsoft.Cpp.Default.props") < configuration
    assert configuration < order.index("$(VCTargetsPath)\\Microsoft.Cpp.props")


def test_without_an_inf_file_nothing_is_catalogued_or_packaged():
    assert not list(KDETECTOR.glob("*.in[fx]"))
    assert not elements("Inf")
    assert (value("EnableInf2cat"), value("SupportsPackaging")) == ("false", "false")


def test_the_analysis_is_a_build_of_its_own():
    assert value("EnablePREfast") == "$(RunCodeAnalysis)"
    (default,) = elements("RunCodeAnalysis")
    assert (default.text, default.get("Condition")) == ("false", "'$(RunCodeAnalysis)' == ''")
    # Its warnings are no errors, all others are; and its files do not take the place of the driver's.
    errors = {each.get("Condition"): each.text for each in elements("TreatWarningAsError")}
    assert errors == {"'$(RunCodeAnalysis)' != 'true'": "true", "'$(RunCodeAnalysis)' == 'true'": "false"}
    for folder in ("IntDir", "OutDir"):
        assert value(folder).endswith("Analysis\\")


def test_the_solution_has_the_project():
    guid = value("ProjectGuid")
    assert f'"KDetector.vcxproj", "{guid}"' in (KDETECTOR / "KDetector.sln").read_text()


def test_the_solution_builds_every_configuration_of_the_project():
    solution = (KDETECTOR / "KDetector.sln").read_text()
    guid = value("ProjectGuid")
    listed = [each.get("Include") for each in elements("ProjectConfiguration")]
    assert sorted(re.findall(rf"{guid}\.(\S+)\.Build\.0 = \1", solution)) == sorted(listed)


def functions_that_call(pattern, *paths):
    """Yield the name of each file, and what stands from the end of the member before a call up to the call."""
    for path in paths:
        text = path.read_text()
        for call in re.finditer(pattern, text):
            before = text[: call.start()]
            yield path.name, before[max(before.rfind("\n\n"), before.rfind("}\n")) :]


@pytest.mark.parametrize(
    ("routine", "annotations"),
    [(name, ("_IRQL_raises_", "_IRQL_saves_global_")) for name in RAISES]
    + [(name, ("_IRQL_requires_", "_IRQL_restores_global_")) for name in RAISES.values()],
)
def test_what_changes_the_irql_for_its_caller_is_annotated(routine, annotations):
    # Else Code Analysis warns, C28167.
    calls = list(functions_that_call(rf"\b{routine}\(", *sorted(KDETECTOR.glob("*.*"))))
    assert calls
    for name, function in calls:
        for annotation in annotations:
            assert f"    {annotation}(" in function, name


def test_no_other_routine_that_raises_the_irql_is_called():
    # One that is has to be added to RAISES above.
    pattern = r"\b(?:Ke(?:Acquire|Raise|Lower|Release)\w+|Ex(?:Acquire|Release)\w*Mutex\w*)(?=\()"
    called = {name for path in KDETECTOR.glob("*.*") for name in re.findall(pattern, path.read_text())}
    assert called == {*RAISES, *RAISES.values()}


def test_what_calls_the_kernel_in_a_header_says_at_which_irql_it_may_be_called():
    names = re.findall(r"^(\w+) +;", (DRIVER / "mingw" / "ntoskrnl.def").read_text(), re.MULTILINE)
    headers = sorted(KDETECTOR.glob("*.h"))
    calls = list(functions_that_call(rf"\b(?:{'|'.join(names)})\(", *headers))
    assert len(calls) > 10
    assert [(name, function) for name, function in calls if "_IRQL_" not in function] == []
