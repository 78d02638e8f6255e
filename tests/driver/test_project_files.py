"""The files that only the WDK reads: they must know every source, and the header's numbers."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

KDETECTOR = Path(__file__).parents[2] / "driver" / "KDetector"
PROJECT = ET.parse(KDETECTOR / "KDetector.vcxproj").getroot()
NAMESPACE = {"m": "http://schemas.microsoft.com/developer/msbuild/2003"}


@pytest.mark.parametrize(("item", "pattern"), [("ClCompile", "*.cpp"), ("ClInclude", "*.h"), ("Inf", "*.inf")])
def test_the_project_has_every_file(item, pattern):
    listed = [element.get("Include") for element in PROJECT.findall(f"m:ItemGroup/m:{item}", NAMESPACE)]
    assert sorted(listed) == sorted(path.name for path in KDETECTOR.glob(pattern))


def test_the_project_links_with_integrity_check():
    options = PROJECT.find(".//m:Link/m:AdditionalOptions", NAMESPACE).text
    assert "/INTEGRITYCHECK" in options.split()


def test_the_solution_has_the_project():
    guid = PROJECT.find(".//m:ProjectGuid", NAMESPACE).text
    assert f'"KDetector.vcxproj", "{guid}"' in (KDETECTOR / "KDetector.sln").read_text()


@pytest.mark.parametrize("name", ["TABLE_BOUND", "QUEUE_BOUND"])
def test_the_inf_file_has_the_defaults(name):
    header = (KDETECTOR / "KDetectorPublic.h").read_text()
    default = re.search(rf"KD_DEFAULT_{name} = ([\d']+);", header)[1].replace("'", "")
    value = re.search(rf'KD_{name}_VALUE L"(\w+)"', header)[1]
    assert f"HKR, Parameters, {value}, 0x00010003, {default}\n" in (KDETECTOR / "KDetector.inf").read_text()
