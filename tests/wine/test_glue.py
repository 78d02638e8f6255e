"""The glue for Wine is in the driver that Wine loads, and in no other."""

import pefile
import pytest

TEST_DEVICE = "\\Device\\kdetector-wine".encode("utf-16-le")


def imports(image):
    with pefile.PE(image) as parsed:
        return {
            (entry.dll.decode().lower(), routine.name.decode())
            for entry in parsed.DIRECTORY_ENTRY_IMPORT
            for routine in entry.imports
        }


@pytest.fixture
def glued(drivers):
    return drivers / "KDetector.sys"


def test_the_product_has_nothing_of_the_glue(product, glued):
    assert TEST_DEVICE in glued.read_bytes()
    assert TEST_DEVICE not in product.read_bytes()
    assert {library for library, _ in imports(product)} == {"ntoskrnl.exe"}


def test_the_glue_takes_the_place_of_what_wine_lacks_and_of_the_notifications(product, glued):
    replaced = {name for _, name in imports(product) - imports(glued)}
    assert replaced == {
        "ExDeleteLookasideListEx",
        "ExEnterCriticalRegionAndAcquireResourceExclusive",
        "ExEnterCriticalRegionAndAcquireResourceShared",
        "ExInitializeLookasideListEx",
        "ExReleaseResourceAndLeaveCriticalRegion",
        "KeQuerySystemTimePrecise",
        "PsGetCurrentProcessId",
        "PsGetCurrentThreadId",
        "PsRemoveCreateThreadNotifyRoutine",
        "PsSetCreateProcessNotifyRoutineEx",
        "PsSetCreateThreadNotifyRoutine",
    }
