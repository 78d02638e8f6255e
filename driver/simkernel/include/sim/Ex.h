// Executive: pool, resources, fast mutexes, lookaside lists.
#pragma once

#include "Types.h"

// Of any pool block.
constexpr SIZE_T MEMORY_ALLOCATION_ALIGNMENT = 16;

enum POOL_TYPE { NonPagedPool = 0, PagedPool = 1, NonPagedPoolNx = 512 };

// The locks are the host's; they live behind this pointer from initialisation to deletion.
struct ERESOURCE {
    struct ResourceState* State;
};

// A fast mutex is never deleted, so its lock has to lie inside.
struct FAST_MUTEX {
    ULONG64 Signature;
    void* Owner;
    KIRQL OldIrql;
    alignas(8) UCHAR Mutex[40];
};

struct LOOKASIDE_LIST_EX {
    struct LookasideState* State;
};

extern "C" {
PVOID ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T size, ULONG tag);
void ExFreePoolWithTag(PVOID memory, ULONG tag);

NTSTATUS ExInitializeResourceLite(ERESOURCE* resource);
NTSTATUS ExDeleteResourceLite(ERESOURCE* resource);
BOOLEAN ExAcquireResourceExclusiveLite(ERESOURCE* resource, BOOLEAN wait);
BOOLEAN ExAcquireResourceSharedLite(ERESOURCE* resource, BOOLEAN wait);
void ExReleaseResourceLite(ERESOURCE* resource);
PVOID ExEnterCriticalRegionAndAcquireResourceExclusive(ERESOURCE* resource);
PVOID ExEnterCriticalRegionAndAcquireResourceShared(ERESOURCE* resource);
void ExReleaseResourceAndLeaveCriticalRegion(ERESOURCE* resource);

void ExInitializeFastMutex(FAST_MUTEX* mutex);
void ExAcquireFastMutex(FAST_MUTEX* mutex);
void ExReleaseFastMutex(FAST_MUTEX* mutex);

NTSTATUS ExInitializeLookasideListEx(
    LOOKASIDE_LIST_EX* list,
    PVOID allocate,
    PVOID free,
    POOL_TYPE type,
    ULONG flags,
    SIZE_T size,
    ULONG tag,
    USHORT depth);
void ExDeleteLookasideListEx(LOOKASIDE_LIST_EX* list);
PVOID ExAllocateFromLookasideListEx(LOOKASIDE_LIST_EX* list);
void ExFreeToLookasideListEx(LOOKASIDE_LIST_EX* list, PVOID item);
}
