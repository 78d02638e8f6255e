// Items of one size from nonpaged pool, with a cache of free ones in front.
#pragma once

#include "Kernel.h"

template <typename T> class LookasideList final {
public:
    LookasideList() = default;
    LookasideList(const LookasideList&) = delete;
    LookasideList& operator=(const LookasideList&) = delete;

    // Every item must have come back by now.
    _IRQL_requires_max_(DISPATCH_LEVEL)
    ~LookasideList()
    {
        if (m_initialized) {
            ExDeleteLookasideListEx(&m_list);
        }
    }

    _IRQL_requires_max_(DISPATCH_LEVEL)
    _Must_inspect_result_
    NTSTATUS Initialize()
    {
        // Nonpaged although every user runs below DISPATCH_LEVEL: items are touched while a lock is held,
        // and no process of the system should wait there for another one's page fault.
        const NTSTATUS status = ExInitializeLookasideListEx(
            &m_list, nullptr, nullptr, NonPagedPoolNx, 0, sizeof(T), KD_POOL_TAG, 0);
        m_initialized = NT_SUCCESS(status);
        return status;
    }

    // Null when there is no memory.
    _IRQL_requires_max_(DISPATCH_LEVEL)
    _Must_inspect_result_
    T* Allocate()
    {
        void* const memory = ExAllocateFromLookasideListEx(&m_list);
        return memory != nullptr ? new (memory) T{} : nullptr;
    }

    _IRQL_requires_max_(DISPATCH_LEVEL)
    void Free(T* item) { ExFreeToLookasideListEx(&m_list, item); }

private:
    LOOKASIDE_LIST_EX m_list{};
    bool m_initialized = false;
};
