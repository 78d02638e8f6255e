// The kernel's notifications, registered for as long as the object lives. Both destructors return only when
// no call of the routine is under way any more.
#pragma once

#include "Kernel.h"

class ProcessNotification final {
public:
    ProcessNotification() = default;
    ProcessNotification(const ProcessNotification&) = delete;
    ProcessNotification& operator=(const ProcessNotification&) = delete;

    _IRQL_requires_max_(PASSIVE_LEVEL)
    ~ProcessNotification()
    {
        if (m_routine != nullptr) {
            PsSetCreateProcessNotifyRoutineEx(m_routine, TRUE);
        }
    }

    // STATUS_ACCESS_DENIED when the image was linked without /INTEGRITYCHECK.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Register(PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine)
    {
        const NTSTATUS status = PsSetCreateProcessNotifyRoutineEx(routine, FALSE);
        if (NT_SUCCESS(status)) {
            m_routine = routine;
        }
        return status;
    }

private:
    PCREATE_PROCESS_NOTIFY_ROUTINE_EX m_routine = nullptr;
};

class ThreadNotification final {
public:
    ThreadNotification() = default;
    ThreadNotification(const ThreadNotification&) = delete;
    ThreadNotification& operator=(const ThreadNotification&) = delete;

    _IRQL_requires_max_(PASSIVE_LEVEL)
    ~ThreadNotification()
    {
        if (m_routine != nullptr) {
            PsRemoveCreateThreadNotifyRoutine(m_routine);
        }
    }

    // Not PsSetCreateThreadNotifyRoutineEx: its routine can run on the new thread, which doesn't know who
    // made it.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Register(PCREATE_THREAD_NOTIFY_ROUTINE routine)
    {
        const NTSTATUS status = PsSetCreateThreadNotifyRoutine(routine);
        if (NT_SUCCESS(status)) {
            m_routine = routine;
        }
        return status;
    }

private:
    PCREATE_THREAD_NOTIFY_ROUTINE m_routine = nullptr;
};
