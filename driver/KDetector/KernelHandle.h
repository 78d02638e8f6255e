// A handle of the system process, closed at the end of its scope.
#pragma once

#include "Kernel.h"

class KernelHandle final {
public:
    KernelHandle() = default;
    KernelHandle(const KernelHandle&) = delete;
    KernelHandle& operator=(const KernelHandle&) = delete;

    _IRQL_requires_max_(PASSIVE_LEVEL)
    ~KernelHandle()
    {
        if (m_handle != nullptr) {
            ZwClose(m_handle);
        }
    }

    HANDLE Get() const { return m_handle; }

    // Where a routine that opens something puts its handle.
    HANDLE* Put() { return &m_handle; }

private:
    HANDLE m_handle = nullptr;
};
