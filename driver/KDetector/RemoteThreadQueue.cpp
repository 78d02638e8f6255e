#include "RemoteThreadQueue.h"
#include "Locker.h"

RemoteThreadQueue::RemoteThreadQueue()
{
    InitializeListHead(&m_order);
}

RemoteThreadQueue::~RemoteThreadQueue()
{
    while (!IsListEmpty(&m_order)) {
        m_items.Free(CONTAINING_RECORD(RemoveHeadList(&m_order), Item, Order));
    }
}

_Use_decl_annotations_
NTSTATUS RemoteThreadQueue::Initialize(ULONG bound)
{
    m_bound = bound;
    return m_items.Initialize();
}

_Use_decl_annotations_
void RemoteThreadQueue::Push(KD_REMOTE_THREAD record)
{
    const Locker locker(m_lock);
    ++m_pushed;
    Item* item = nullptr;
    if (m_size == m_bound) {
        item = CONTAINING_RECORD(RemoveHeadList(&m_order), Item, Order);
        --m_size;
        ++m_dropped;
    } else {
        item = m_items.Allocate();
    }
    if (item == nullptr) {
        ++m_dropped;
        ++m_allocationFailures;
        return;
    }
    // Under the lock, so that the order of the records is the order of their times.
    LARGE_INTEGER now;
    KeQuerySystemTimePrecise(&now);
    record.Time = now.QuadPart;
    item->Record = record;
    InsertTailList(&m_order, &item->Order);
    ++m_size;
}

_Use_decl_annotations_
bool RemoteThreadQueue::Pop(KD_REMOTE_THREAD& record)
{
    const Locker locker(m_lock);
    if (IsListEmpty(&m_order)) {
        return false;
    }
    Item* const item = CONTAINING_RECORD(RemoveHeadList(&m_order), Item, Order);
    record = item->Record;
    m_items.Free(item);
    --m_size;
    ++m_popped;
    return true;
}

_Use_decl_annotations_
RemoteThreadQueue::Counts RemoteThreadQueue::Count()
{
    const Locker locker(m_lock);
    return {m_size, m_bound, m_pushed, m_popped, m_dropped, m_allocationFailures};
}
