// The processes that wait for their first thread: ids in order of insertion, found in constant time.
#pragma once

#include "ExecutiveResource.h"
#include "LookasideList.h"
#include "Pool.h"

class NewProcessTable final {
public:
    struct Counts {
        ULONG Size;
        ULONG Bound;
        ULONG64 Evictions;
        ULONG64 AllocationFailures;
    };

    NewProcessTable();
    NewProcessTable(const NewProcessTable&) = delete;
    NewProcessTable& operator=(const NewProcessTable&) = delete;
    ~NewProcessTable();

    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Initialize(ULONG bound);

    // Makes the process the newest entry; an older entry of the same id goes. A full table gives up its
    // oldest entry: to refuse the new one would turn its first thread into a false remote one.
    // False when there was no memory, and nothing is stored.
    _IRQL_requires_max_(APC_LEVEL)
    bool Insert(ULONG processId);

    // Removes the process and says whether it was there, in one step: of any number of threads that take
    // the same process at the same time exactly one is told that it was. Takes no lock when the process is
    // not there (see Bucket for the one exception).
    _IRQL_requires_max_(APC_LEVEL)
    bool Take(ULONG processId);

    _IRQL_requires_max_(APC_LEVEL)
    Counts Count();

private:
    struct Entry {
        LIST_ENTRY Order; // first, oldest; last, newest
        Entry* NextInBucket;
        ULONG ProcessId;
    };

    // The processes whose ids have the same hash.
    struct Bucket {
        Entry* First;

        // Who is here, for the look without a lock: the number of entries in the upper half, all their ids
        // xored in the lower one. None and one are exact answers. With two or more the answer is "perhaps",
        // and the lock decides; a table as large as its bound makes that rare.
        volatile LONG64 Presence;
    };

    Bucket& BucketOf(ULONG processId);
    static bool IsAbsent(const Bucket& bucket, ULONG processId);
    static void AnnouncePresence(Bucket& bucket, LONG64 countChange, ULONG processId);

    // These four need the lock, held exclusively.
    Entry* Find(ULONG processId);
    Entry* Oldest();
    void Link(Entry* entry, ULONG processId);
    void Unlink(Entry* entry);

    // Guards all that follows except m_hashShift and m_bound, which never change, and the look at Presence.
    // A resource, not a fast mutex, so that those who only count don't wait for each other.
    ExecutiveResource m_lock;
    LookasideList<Entry> m_entries;
    PoolArray<Bucket> m_buckets;
    LIST_ENTRY m_order;
    ULONG m_hashShift = 0;
    ULONG m_bound = 0;
    ULONG m_size = 0;
    ULONG64 m_evictions = 0;
    ULONG64 m_allocationFailures = 0;
};
