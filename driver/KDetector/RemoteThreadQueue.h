// The remote threads that wait to be read, oldest first.
#pragma once

#include "FastMutex.h"
#include "KDetectorPublic.h"
#include "LookasideList.h"

class RemoteThreadQueue final {
public:
    // Pushed = Dropped + Size + Popped, in every answer.
    struct Counts {
        ULONG Size;
        ULONG Bound;
        ULONG64 Pushed;
        ULONG64 Popped;
        ULONG64 Dropped;
        ULONG64 AllocationFailures;
    };

    RemoteThreadQueue();
    RemoteThreadQueue(const RemoteThreadQueue&) = delete;
    RemoteThreadQueue& operator=(const RemoteThreadQueue&) = delete;
    ~RemoteThreadQueue();

    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Initialize(ULONG bound);

    // Stamps the record with the time and appends it. A full queue drops its oldest record; without memory
    // the new one is dropped.
    _IRQL_requires_max_(APC_LEVEL)
    void Push(KD_REMOTE_THREAD record);

    // Moves the oldest record into `record`. False when there is none.
    _IRQL_requires_max_(APC_LEVEL)
    bool Pop(KD_REMOTE_THREAD& record);

    _IRQL_requires_max_(APC_LEVEL)
    Counts Count();

private:
    struct Item {
        LIST_ENTRY Order;
        KD_REMOTE_THREAD Record;
    };

    // Guards all that follows except m_bound, which never changes.
    FastMutex m_lock;
    LookasideList<Item> m_items;
    LIST_ENTRY m_order;
    ULONG m_bound = 0;
    ULONG m_size = 0;
    ULONG64 m_pushed = 0;
    ULONG64 m_popped = 0;
    ULONG64 m_dropped = 0;
    ULONG64 m_allocationFailures = 0;
};
