// Process structure: who runs, and the notifications of processes and threads.
#pragma once

#include "Types.h"

using PEPROCESS = struct EPROCESS*;

struct PS_CREATE_NOTIFY_INFO {
    HANDLE ParentProcessId;
    struct {
        HANDLE UniqueProcess;
        HANDLE UniqueThread;
    } CreatingThreadId;
    NTSTATUS CreationStatus;
};
using PPS_CREATE_NOTIFY_INFO = PS_CREATE_NOTIFY_INFO*;

using PCREATE_PROCESS_NOTIFY_ROUTINE_EX =
    void (*)(PEPROCESS process, HANDLE processId, PPS_CREATE_NOTIFY_INFO creation);
using PCREATE_THREAD_NOTIFY_ROUTINE = void (*)(HANDLE processId, HANDLE threadId, BOOLEAN created);

extern "C" {
HANDLE PsGetCurrentProcessId();
HANDLE PsGetCurrentThreadId();
NTSTATUS PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine, BOOLEAN remove);
NTSTATUS PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine);
NTSTATUS PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE routine);
}
