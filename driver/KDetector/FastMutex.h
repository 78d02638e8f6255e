// The executive's fast mutex. Whoever holds it runs at APC_LEVEL.
#pragma once

#include "Kernel.h"

class FastMutex final {
public:
    // Nothing: the caller's IRQL is kept in the mutex, which has one owner at a time.
    struct Held {};

    // It only writes to the structure, so it can't fail, and there is nothing to delete.
    _IRQL_requires_max_(DISPATCH_LEVEL)
    FastMutex() { ExInitializeFastMutex(&m_mutex); }
    FastMutex(const FastMutex&) = delete;
    FastMutex& operator=(const FastMutex&) = delete;

    // For Locker.
    _IRQL_requires_max_(APC_LEVEL)
    _IRQL_raises_(APC_LEVEL)
    _IRQL_saves_global_(OldIrql, m_mutex)
    Held Lock()
    {
        ExAcquireFastMutex(&m_mutex);
        return {};
    }

    _IRQL_requires_(APC_LEVEL)
    _IRQL_restores_global_(OldIrql, m_mutex)
    void Unlock(Held) { ExReleaseFastMutex(&m_mutex); }

private:
    FAST_MUTEX m_mutex;
};
