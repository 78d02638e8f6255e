#include "Detector.h"
#include "Settings.h"

Detector* Detector::s_instance = nullptr;

// What the pool guarantees.
static_assert(alignof(Detector) <= MEMORY_ALLOCATION_ALIGNMENT);

_Use_decl_annotations_
NTSTATUS Detector::Load(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey)
{
    s_instance = new Detector;
    if (s_instance == nullptr) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const NTSTATUS status = s_instance->Start(driver, serviceKey);
    if (!NT_SUCCESS(status)) {
        Unload();
    }
    return status;
}

_Use_decl_annotations_
void Detector::Unload()
{
    delete s_instance;
    s_instance = nullptr;
}

_Use_decl_annotations_
NTSTATUS Detector::Start(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey)
{
    const Settings settings = Settings::Read(serviceKey);

    NTSTATUS status = m_newProcesses.Initialize(settings.TableBound);
    if (NT_SUCCESS(status)) {
        status = m_remoteThreads.Initialize(settings.QueueBound);
    }
    if (NT_SUCCESS(status)) {
        status = m_device.Create(driver);
    }
    if (NT_SUCCESS(status)) {
        status = m_device.RestrictAccess();
    }
    if (NT_SUCCESS(status)) {
        status = m_link.Create();
    }
    // Notifications come from the moment they are registered, so all they need is ready by now. Processes
    // first: a process made between the two steps is then known before its first thread is seen. The other
    // way round that thread would be a false remote one.
    if (NT_SUCCESS(status)) {
        status = m_processNotification.Register(OnProcess);
    }
    if (NT_SUCCESS(status)) {
        status = m_threadNotification.Register(OnThread);
    }
    return status;
}

// Runs at PASSIVE_LEVEL inside a critical region: for a creation on the creator's thread, before the
// process's first thread starts; for an exit on the last thread of the process.
_Use_decl_annotations_
void Detector::OnProcess(PEPROCESS, HANDLE processId, PPS_CREATE_NOTIFY_INFO creation)
{
    const ULONG id = HandleToULong(processId);
    NewProcessTable& newProcesses = s_instance->m_newProcesses;
    if (creation == nullptr) {
        newProcesses.Take(id);
    } else if (newProcesses.Insert(id)) {
        DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "KDetector: New process added: %u\n", id);
    } else {
        DbgPrintEx(
            DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "KDetector: New process created, no room to store\n");
    }
}

// Runs at PASSIVE_LEVEL or APC_LEVEL: for a creation on the creator's thread, which the current ids name even
// while it is attached to another process.
_Use_decl_annotations_
void Detector::OnThread(HANDLE processId, HANDLE threadId, BOOLEAN created)
{
    if (!created) {
        return;
    }
    const KD_REMOTE_THREAD thread = {
        0, // the queue stamps it
        HandleToULong(PsGetCurrentProcessId()),
        HandleToULong(PsGetCurrentThreadId()),
        HandleToULong(processId),
        HandleToULong(threadId)};
    if (s_instance->m_rule.Judge(thread.CreatorProcessId, thread.ProcessId) !=
        RemoteThreadRule::Verdict::Remote) {
        return;
    }
    s_instance->m_remoteThreads.Push(thread);
    DbgPrintEx(
        DPFLTR_IHVDRIVER_ID,
        DPFLTR_INFO_LEVEL,
        "KDetector: Remote thread detected. (PID: %u, TID: %u) -> (PID: %u, TID: %u)\n",
        thread.CreatorProcessId,
        thread.CreatorThreadId,
        thread.ProcessId,
        thread.ThreadId);
}

_Use_decl_annotations_
KD_STATISTICS Detector::Statistics()
{
    const RemoteThreadRule::Counts judged = m_rule.Count();
    const RemoteThreadQueue::Counts queue = m_remoteThreads.Count();
    const NewProcessTable::Counts table = m_newProcesses.Count();

    KD_STATISTICS statistics{};
    // The sum, not a counter of its own, which could be read a moment too early or too late.
    statistics.ThreadsSeen = judged.First + judged.Own + judged.Excluded + queue.Pushed;
    statistics.FirstThreads = judged.First;
    statistics.OwnThreads = judged.Own;
    statistics.ExcludedThreads = judged.Excluded;
    statistics.Reported = queue.Pushed;
    statistics.Dropped = queue.Dropped;
    statistics.TableSize = table.Size;
    statistics.Evictions = table.Evictions;
    statistics.AllocationFailures = table.AllocationFailures + queue.AllocationFailures;
    statistics.TableBound = table.Bound;
    statistics.QueueBound = queue.Bound;
    statistics.Queued = queue.Size;
    statistics.Delivered = queue.Popped;
    return statistics;
}
