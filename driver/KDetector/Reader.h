// The one handle that may read.
#pragma once

#include "Kernel.h"

class Reader final {
public:
    // False when another handle reads.
    bool TryAdmit(FILE_OBJECT* file)
    {
        return InterlockedCompareExchangePointer(Slot(), file, nullptr) == nullptr;
    }

    bool IsAdmitted(FILE_OBJECT* file)
    {
        // A compare and exchange that changes nothing reads.
        return InterlockedCompareExchangePointer(Slot(), nullptr, nullptr) == file;
    }

    // Does nothing for a handle that was not admitted.
    void Dismiss(FILE_OBJECT* file) { InterlockedCompareExchangePointer(Slot(), nullptr, file); }

private:
    void* volatile* Slot() { return &m_file; }

    void* volatile m_file = nullptr;
};
