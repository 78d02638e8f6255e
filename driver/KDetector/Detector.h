// The driver's one instance: what it is made of, and the routines that the kernel calls.
#pragma once

#include "Device.h"
#include "KDetectorPublic.h"
#include "Notifications.h"
#include "Reader.h"
#include "RemoteThreadQueue.h"
#include "RemoteThreadRule.h"

class Detector final {
public:
    // Makes the instance. When a step fails, what was done up to there is undone, and nothing is left.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    static NTSTATUS Load(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey);

    // Takes it down again. The kernel calls this only when no handle is open.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    static void Unload();

    // The requests of programs: Dispatch.cpp.
    static DRIVER_DISPATCH OnCreate;
    static DRIVER_DISPATCH OnClose;
    static DRIVER_DISPATCH OnRead;
    static DRIVER_DISPATCH OnDeviceControl;

private:
    Detector() : m_rule(m_newProcesses) {}
    ~Detector() = default;
    Detector(const Detector&) = delete;
    Detector& operator=(const Detector&) = delete;

    // The locks inside must be in nonpaged memory, so the whole is.
    static void* operator new(size_t size) noexcept { return AllocatePool(size); }
    static void operator delete(void* memory) { FreePool(memory); }

    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Start(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey);

    // The kernel's notifications.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    static void OnProcess(PEPROCESS process, HANDLE processId, PPS_CREATE_NOTIFY_INFO creation);
    _IRQL_requires_max_(APC_LEVEL)
    static void OnThread(HANDLE processId, HANDLE threadId, BOOLEAN created);

    _IRQL_requires_max_(APC_LEVEL)
    KD_STATISTICS Statistics();

    // The notification routines are called without a context, so the instance has to be found by name. Set
    // before they are registered, cleared after they are gone.
    static Detector* s_instance;

    // C++ destroys in reverse: the notifications end first, and nothing they use goes before them.
    NewProcessTable m_newProcesses;
    RemoteThreadQueue m_remoteThreads;
    RemoteThreadRule m_rule;
    Reader m_reader;
    Device m_device;
    SymbolicLink m_link;
    ProcessNotification m_processNotification;
    ThreadNotification m_threadNotification;
};
