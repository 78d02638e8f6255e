// Kernel core: IRQL, critical regions, the clock, interlocked operations.
#pragma once

#include "Types.h"

constexpr KIRQL PASSIVE_LEVEL = 0;
constexpr KIRQL APC_LEVEL = 1;
constexpr KIRQL DISPATCH_LEVEL = 2;

enum : KPROCESSOR_MODE { KernelMode, UserMode };

extern "C" {
KIRQL KeGetCurrentIrql();
void KeEnterCriticalRegion();
void KeLeaveCriticalRegion();
BOOLEAN KeAreApcsDisabled();
void KeQuerySystemTimePrecise(LARGE_INTEGER* time);
}

inline LONG64 InterlockedIncrement64(volatile LONG64* addend)
{
    return __atomic_add_fetch(addend, 1, __ATOMIC_SEQ_CST);
}

inline PVOID InterlockedCompareExchangePointer(PVOID volatile* destination, PVOID exchange, PVOID comparand)
{
    __atomic_compare_exchange_n(destination, &comparand, exchange, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return comparand;
}

inline LONG64 ReadNoFence64(const volatile LONG64* source)
{
    return __atomic_load_n(source, __ATOMIC_RELAXED);
}

inline void WriteNoFence64(volatile LONG64* destination, LONG64 value)
{
    __atomic_store_n(destination, value, __ATOMIC_RELAXED);
}
