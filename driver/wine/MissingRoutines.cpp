// The kernel routines that KDetector calls and Wine 8 does not have. A call of one would end the process that
// holds the driver.
#include "Import.h"

// Exported by Wine, as by 32-bit Windows; the headers for x64 have a macro in its place.
#undef KeQuerySystemTime
extern "C" NTKERNELAPI VOID NTAPI KeQuerySystemTime(PLARGE_INTEGER CurrentTime);

namespace {

// Wine's clock has a resolution of 100 ns already.
VOID NTAPI QuerySystemTimePrecise(PLARGE_INTEGER currentTime)
{
    KeQuerySystemTime(currentTime);
}

PVOID NTAPI AllocateItem(POOL_TYPE type, SIZE_T size, ULONG tag, PLOOKASIDE_LIST_EX)
{
    return ExAllocatePoolWithTag(type, size, tag);
}

VOID NTAPI FreeItem(PVOID item, PLOOKASIDE_LIST_EX)
{
    ExFreePool(item);
}

// The fields that the inline routines of the headers look at; 4 is the depth that Windows begins with.
NTSTATUS NTAPI InitializeLookasideListEx(
    PLOOKASIDE_LIST_EX list,
    PALLOCATE_FUNCTION_EX allocate,
    PFREE_FUNCTION_EX free,
    POOL_TYPE type,
    ULONG flags,
    SIZE_T size,
    ULONG tag,
    USHORT depth)
{
    if (flags != 0 || depth != 0) {
        return STATUS_INVALID_PARAMETER;
    }
    RtlZeroMemory(list, sizeof(*list));
    list->L.Type = type;
    list->L.Tag = tag;
    list->L.Size = static_cast<ULONG>(size);
    list->L.Depth = 4;
    list->L.MaximumDepth = 4;
    list->L.AllocateEx = allocate != nullptr ? allocate : AllocateItem;
    list->L.FreeEx = free != nullptr ? free : FreeItem;
    return STATUS_SUCCESS;
}

VOID NTAPI DeleteLookasideListEx(PLOOKASIDE_LIST_EX list)
{
    while (PVOID const item = InterlockedPopEntrySList(&list->L.ListHead)) {
        list->L.FreeEx(item, list);
    }
}

PVOID NTAPI EnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE resource)
{
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(resource, TRUE);
    return nullptr;
}

PVOID NTAPI EnterCriticalRegionAndAcquireResourceShared(PERESOURCE resource)
{
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(resource, TRUE);
    return nullptr;
}

VOID FASTCALL ReleaseResourceAndLeaveCriticalRegion(PERESOURCE resource)
{
    ExReleaseResourceLite(resource);
    KeLeaveCriticalRegion();
}

} // namespace

KDW_REPLACES(KeQuerySystemTimePrecise, QuerySystemTimePrecise);
KDW_REPLACES(ExInitializeLookasideListEx, InitializeLookasideListEx);
KDW_REPLACES(ExDeleteLookasideListEx, DeleteLookasideListEx);
KDW_REPLACES(ExEnterCriticalRegionAndAcquireResourceExclusive, EnterCriticalRegionAndAcquireResourceExclusive);
KDW_REPLACES(ExEnterCriticalRegionAndAcquireResourceShared, EnterCriticalRegionAndAcquireResourceShared);
KDW_REPLACES(ExReleaseResourceAndLeaveCriticalRegion, ReleaseResourceAndLeaveCriticalRegion);
