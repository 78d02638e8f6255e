#include "SimKernel.h"
#include "Simulation.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>

namespace {

// Held shared while a routine runs, so that removing it waits for the calls under way.
std::shared_mutex g_processMutex;
PCREATE_PROCESS_NOTIFY_ROUTINE_EX g_processRoutine = nullptr;
std::shared_mutex g_threadMutex;
PCREATE_THREAD_NOTIFY_ROUTINE g_threadRoutine = nullptr;

std::atomic<bool> g_busy = false;
std::atomic<int> g_threadIrql = PASSIVE_LEVEL;

HANDLE ToHandle(std::uint32_t id)
{
    return reinterpret_cast<HANDLE>(static_cast<std::uintptr_t>(id));
}

template <typename TRoutine>
NTSTATUS Add(const char* name, std::shared_mutex& mutex, TRoutine& slot, TRoutine routine)
{
    sim::RequireIrql(name, PASSIVE_LEVEL);
    if (sim::Fails(name)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const std::unique_lock lock(mutex);
    if (slot != nullptr) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "%s: a routine is registered twice", name);
    }
    slot = routine;
    return STATUS_SUCCESS;
}

template <typename TRoutine>
NTSTATUS Remove(const char* name, std::shared_mutex& mutex, TRoutine& slot, TRoutine routine)
{
    sim::RequireIrql(name, PASSIVE_LEVEL);
    const std::unique_lock lock(mutex);
    if (slot != routine) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "%s of a routine that is not registered", name);
    }
    slot = nullptr;
    return STATUS_SUCCESS;
}

// A system that never stands still: in the moment a routine is registered, a service makes a process.
void BeBusy(std::uint32_t pid)
{
    if (g_busy) {
        constexpr std::uint32_t service = 600;
        sim::NotifyProcess(service, service + 4, pid, true);
        sim::NotifyThread(service, service + 4, pid, pid + 4, true);
    }
}

} // namespace

void sim::NotifyProcess(std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, bool created)
{
    const std::shared_lock lock(g_processMutex);
    if (g_processRoutine == nullptr) {
        return;
    }
    PS_CREATE_NOTIFY_INFO creation{};
    creation.ParentProcessId = ToHandle(creatorPid);
    creation.CreatingThreadId = {ToHandle(creatorPid), ToHandle(creatorTid)};
    auto* const process = reinterpret_cast<PEPROCESS>(&creation);

    const Impersonation impersonation(creatorPid, creatorTid, PASSIVE_LEVEL);
    KeEnterCriticalRegion();
    g_processRoutine(process, ToHandle(pid), created ? &creation : nullptr);
    KeLeaveCriticalRegion();
}

void sim::NotifyThread(
    std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, std::uint32_t tid, bool created)
{
    const std::shared_lock lock(g_threadMutex);
    if (g_threadRoutine != nullptr) {
        const Impersonation impersonation(creatorPid, creatorTid, static_cast<KIRQL>(g_threadIrql));
        g_threadRoutine(ToHandle(pid), ToHandle(tid), created);
    }
}

extern "C" {

HANDLE PsGetCurrentProcessId()
{
    return ToHandle(sim::CurrentThread().ProcessId);
}

HANDLE PsGetCurrentThreadId()
{
    return ToHandle(sim::CurrentThread().ThreadId);
}

NTSTATUS PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine, BOOLEAN remove)
{
    constexpr const char* name = "PsSetCreateProcessNotifyRoutineEx";
    if (remove) {
        return Remove(name, g_processMutex, g_processRoutine, routine);
    }
    const NTSTATUS status = Add(name, g_processMutex, g_processRoutine, routine);
    BeBusy(0x7000);
    return status;
}

NTSTATUS PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine)
{
    const NTSTATUS status = Add("PsSetCreateThreadNotifyRoutine", g_threadMutex, g_threadRoutine, routine);
    BeBusy(0x7100);
    return status;
}

NTSTATUS PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine)
{
    return Remove("PsRemoveCreateThreadNotifyRoutine", g_threadMutex, g_threadRoutine, routine);
}

void sim_set_busy(int busy)
{
    g_busy = busy != 0;
}

void sim_set_thread_notification_irql(std::uint8_t irql)
{
    g_threadIrql = irql;
}

} // extern "C"

void sim::ReportNotificationLeaks(std::string& report)
{
    const std::shared_lock processLock(g_processMutex);
    const std::shared_lock threadLock(g_threadMutex);
    if (g_processRoutine != nullptr) {
        report += " the process notification;";
    }
    if (g_threadRoutine != nullptr) {
        report += " the thread notification;";
    }
}
