#include "NotifyRoutines.h"

#include "Import.h"

namespace {

using CurrentId = HANDLE(NTAPI*)();

// Wine handles one request at a time, so nothing here is used by two threads at once.
PCREATE_PROCESS_NOTIFY_ROUTINE_EX g_processRoutine;
PCREATE_THREAD_NOTIFY_ROUTINE g_threadRoutine;
CurrentId g_currentProcessId;
CurrentId g_currentThreadId;
const KDW_SUBJECT* g_namedCreator;

// As in Windows, nothing can be registered twice, or removed without having been registered.
NTSTATUS NTAPI SetProcessRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine, BOOLEAN remove)
{
    if (g_processRoutine != (remove ? routine : nullptr)) {
        return remove ? STATUS_PROCEDURE_NOT_FOUND : STATUS_INVALID_PARAMETER;
    }
    g_processRoutine = remove ? nullptr : routine;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI SetThreadRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine)
{
    if (g_threadRoutine != nullptr) {
        return STATUS_INVALID_PARAMETER;
    }
    g_threadRoutine = routine;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI RemoveThreadRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine)
{
    if (g_threadRoutine != routine) {
        return STATUS_PROCEDURE_NOT_FOUND;
    }
    g_threadRoutine = nullptr;
    return STATUS_SUCCESS;
}

HANDLE NTAPI GetCurrentProcessId()
{
    return g_namedCreator != nullptr ? ULongToHandle(g_namedCreator->CreatorProcessId) : g_currentProcessId();
}

HANDLE NTAPI GetCurrentThreadId()
{
    return g_namedCreator != nullptr ? ULongToHandle(g_namedCreator->CreatorThreadId) : g_currentThreadId();
}

CurrentId Find(PCWSTR name)
{
    UNICODE_STRING counted;
    RtlInitUnicodeString(&counted, name);
    return reinterpret_cast<CurrentId>(MmGetSystemRoutineAddress(&counted));
}

} // namespace

KDW_REPLACES(PsSetCreateProcessNotifyRoutineEx, SetProcessRoutine);
KDW_REPLACES(PsSetCreateThreadNotifyRoutine, SetThreadRoutine);
KDW_REPLACES(PsRemoveCreateThreadNotifyRoutine, RemoveThreadRoutine);
KDW_REPLACES(PsGetCurrentProcessId, GetCurrentProcessId);
KDW_REPLACES(PsGetCurrentThreadId, GetCurrentThreadId);

NTSTATUS InitializeNotifyRoutines()
{
    g_currentProcessId = Find(L"PsGetCurrentProcessId");
    g_currentThreadId = Find(L"PsGetCurrentThreadId");
    const bool found = g_currentProcessId != nullptr && g_currentThreadId != nullptr;
    return found ? STATUS_SUCCESS : STATUS_PROCEDURE_NOT_FOUND;
}

// Windows calls process routines inside a critical region, and thread routines outside of one, so that both ways
// to take KDetector's lock are gone. Wine makes every request inside one.
NTSTATUS NotifyProcess(const KDW_SUBJECT& subject, bool created)
{
    if (g_processRoutine == nullptr) {
        return STATUS_DEVICE_NOT_READY;
    }
    PS_CREATE_NOTIFY_INFO creation{};
    creation.Size = sizeof(creation);
    g_processRoutine(nullptr, ULongToHandle(subject.ProcessId), created ? &creation : nullptr);
    return STATUS_SUCCESS;
}

NTSTATUS NotifyThread(const KDW_SUBJECT& subject, bool created)
{
    if (g_threadRoutine == nullptr) {
        return STATUS_DEVICE_NOT_READY;
    }
    KeLeaveCriticalRegion();
    g_threadRoutine(ULongToHandle(subject.ProcessId), ULongToHandle(subject.ThreadId), created);
    KeEnterCriticalRegion();
    return STATUS_SUCCESS;
}

NTSTATUS NotifyThreadCreatedBy(const KDW_SUBJECT& subject)
{
    g_namedCreator = &subject;
    const NTSTATUS status = NotifyThread(subject, true);
    g_namedCreator = nullptr;
    return status;
}
