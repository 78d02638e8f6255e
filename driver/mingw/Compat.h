// What mingw-w64's kernel headers lack, or get wrong in C++. The Makefile includes it before every source of
// the mingw build; the sources know nothing of it.
#pragma once

// wdm.h defines these two after intrin.h has, in a way that g++ refuses.
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset

#include <ntifs.h>

#include "Layouts.h"

// The annotations for Code Analysis that its driverspecs.h has not heard of.
#define _IRQL_saves_global_(Kind, Where)
#define _IRQL_restores_global_(Kind, Where)

// Since Windows 8.
extern "C" NTKERNELAPI VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime);

// Since Windows 8: the priority may carry flags, so it is no enumeration any more.
constexpr ULONG MdlMappingNoExecute = 0x40000000;

FORCEINLINE PVOID MapLockedPages(PMDL mdl, ULONG priority)
{
    if ((mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) != 0) {
        return mdl->MappedSystemVa;
    }
    return MmMapLockedPagesSpecifyCache(
        mdl, KernelMode, MmCached, nullptr, FALSE, static_cast<MM_PAGE_PRIORITY>(priority));
}

#undef MmGetSystemAddressForMdlSafe
#define MmGetSystemAddressForMdlSafe MapLockedPages

// An aligned 64-bit access is one access on x64.
FORCEINLINE LONG64 ReadNoFence64(const volatile LONG64* source)
{
    return *source;
}

FORCEINLINE VOID WriteNoFence64(volatile LONG64* destination, LONG64 value)
{
    *destination = value;
}
