#include "NewProcessTable.h"
#include "Locker.h"

NewProcessTable::NewProcessTable()
{
    InitializeListHead(&m_order);
}

NewProcessTable::~NewProcessTable()
{
    while (!IsListEmpty(&m_order)) {
        m_entries.Free(CONTAINING_RECORD(RemoveHeadList(&m_order), Entry, Order));
    }
}

_Use_decl_annotations_
NTSTATUS NewProcessTable::Initialize(ULONG bound)
{
    // A bucket for each entry, rounded up to a power of two so that the upper bits of the hash choose one.
    // At least two: a shift by all 32 bits is undefined.
    ULONG hashBits = 1;
    while ((1U << hashBits) < bound) {
        ++hashBits;
    }
    m_hashShift = 32 - hashBits;
    m_bound = bound;

    NTSTATUS status = m_lock.Initialize();
    if (NT_SUCCESS(status)) {
        status = m_entries.Initialize();
    }
    if (NT_SUCCESS(status)) {
        status = m_buckets.Initialize(1U << hashBits);
    }
    return status;
}

_Use_decl_annotations_
bool NewProcessTable::Insert(ULONG processId)
{
    const Locker locker(m_lock);
    Entry* entry = Find(processId);
    if (entry == nullptr && m_size == m_bound) {
        entry = Oldest();
        ++m_evictions;
    }
    // An entry that has to go makes room for the new one, so that a full table needs no memory.
    if (entry != nullptr) {
        Unlink(entry);
    } else {
        entry = m_entries.Allocate();
    }
    if (entry == nullptr) {
        ++m_allocationFailures;
        return false;
    }
    Link(entry, processId);
    return true;
}

// The look without the lock never misses an entry that its caller could rely on. A process is inserted on its
// creator's thread, before its first thread exists; the kernel starts that thread, and each later one, only
// afterwards, and starting a thread orders all that happened before it. So every thread of the process reads
// a Presence that is at least as new as its own insertion, and each of those, being one 64-bit value written
// as a whole, counts the process until it is taken. The same holds for any creator that learned of the
// process from a thread of it or from its creator. No other memory is read on the strength of the answer,
// so the read itself needs no fence.
_Use_decl_annotations_
bool NewProcessTable::Take(ULONG processId)
{
    if (IsAbsent(BucketOf(processId), processId)) {
        return false;
    }
    const Locker locker(m_lock);
    Entry* const entry = Find(processId);
    if (entry == nullptr) {
        return false;
    }
    Unlink(entry);
    m_entries.Free(entry);
    return true;
}

_Use_decl_annotations_
NewProcessTable::Counts NewProcessTable::Count()
{
    const SharedLocker locker(m_lock);
    return {m_size, m_bound, m_evictions, m_allocationFailures};
}

NewProcessTable::Bucket& NewProcessTable::BucketOf(ULONG processId)
{
    // Ids are multiples of 4, and close together. Multiplying by 2^32 divided by the golden ratio spreads
    // any such row evenly over the upper bits.
    return m_buckets[(processId * 0x9E3779B9U) >> m_hashShift];
}

bool NewProcessTable::IsAbsent(const Bucket& bucket, ULONG processId)
{
    const auto presence = static_cast<ULONG64>(ReadNoFence64(&bucket.Presence));
    const ULONG64 count = presence >> 32;
    return count == 0 || (count == 1 && static_cast<ULONG>(presence) != processId);
}

void NewProcessTable::AnnouncePresence(Bucket& bucket, LONG64 countChange, ULONG processId)
{
    // Written under the lock only, so a plain read and one write of the whole value are enough.
    const LONG64 ids = ReadNoFence64(&bucket.Presence) ^ processId;
    WriteNoFence64(&bucket.Presence, ids + countChange * (1LL << 32));
}

NewProcessTable::Entry* NewProcessTable::Find(ULONG processId)
{
    Entry* entry = BucketOf(processId).First;
    while (entry != nullptr && entry->ProcessId != processId) {
        entry = entry->NextInBucket;
    }
    return entry;
}

NewProcessTable::Entry* NewProcessTable::Oldest()
{
    return CONTAINING_RECORD(m_order.Flink, Entry, Order);
}

void NewProcessTable::Link(Entry* entry, ULONG processId)
{
    Bucket& bucket = BucketOf(processId);
    entry->ProcessId = processId;
    entry->NextInBucket = bucket.First;
    bucket.First = entry;
    InsertTailList(&m_order, &entry->Order);
    ++m_size;
    AnnouncePresence(bucket, +1, processId);
}

void NewProcessTable::Unlink(Entry* entry)
{
    Bucket& bucket = BucketOf(entry->ProcessId);
    Entry** link = &bucket.First;
    while (*link != entry) {
        link = &(*link)->NextInBucket;
    }
    *link = entry->NextInBucket;
    RemoveEntryList(&entry->Order);
    --m_size;
    AnnouncePresence(bucket, -1, entry->ProcessId);
}
