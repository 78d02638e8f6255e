// A reader-writer lock of the executive (ERESOURCE).
#pragma once

#include "Kernel.h"

class ExecutiveResource final {
public:
    // What an acquisition has to remember until its release. It belongs to the acquisition, on its own
    // stack: a member of the lock would be shared by every thread that holds it or waits for it.
    struct Held {
        bool EnteredCriticalRegion;
    };

    ExecutiveResource() = default;
    ExecutiveResource(const ExecutiveResource&) = delete;
    ExecutiveResource& operator=(const ExecutiveResource&) = delete;
    _IRQL_requires_max_(DISPATCH_LEVEL)
    ~ExecutiveResource();

    _IRQL_requires_max_(DISPATCH_LEVEL)
    _Must_inspect_result_
    NTSTATUS Initialize();

    // For Locker and SharedLocker.
    _IRQL_requires_max_(APC_LEVEL)
    Held Lock();
    _IRQL_requires_max_(APC_LEVEL)
    Held LockShared();
    _IRQL_requires_max_(DISPATCH_LEVEL)
    void Unlock(Held held);

private:
    ERESOURCE m_resource{};
    bool m_initialized = false;
};
