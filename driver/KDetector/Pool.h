// Nonpaged, non-executable, zeroed pool memory.
#pragma once

#include "Kernel.h"

// ExAllocatePool2 came with Windows 10 2004; this driver runs from 1809 on, so it uses the older routine,
// which newer kits mark as deprecated.
_IRQL_requires_max_(DISPATCH_LEVEL)
_Must_inspect_result_
inline void* AllocatePool(SIZE_T size) noexcept
{
#pragma warning(suppress : 4996)
    void* const memory = ExAllocatePoolWithTag(NonPagedPoolNx, size, KD_POOL_TAG);
    if (memory != nullptr) {
        RtlZeroMemory(memory, size);
    }
    return memory;
}

_IRQL_requires_max_(DISPATCH_LEVEL)
inline void FreePool(void* memory) noexcept
{
    ExFreePoolWithTag(memory, KD_POOL_TAG);
}

// An array whose length is known when the driver is loaded. Its elements start as zero bits.
template <typename T> class PoolArray final {
public:
    PoolArray() = default;
    PoolArray(const PoolArray&) = delete;
    PoolArray& operator=(const PoolArray&) = delete;

    _IRQL_requires_max_(DISPATCH_LEVEL)
    ~PoolArray()
    {
        if (m_elements != nullptr) {
            FreePool(m_elements);
        }
    }

    _IRQL_requires_max_(DISPATCH_LEVEL)
    _Must_inspect_result_
    NTSTATUS Initialize(ULONG length)
    {
        m_elements = static_cast<T*>(AllocatePool(sizeof(T) * length));
        return m_elements != nullptr ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
    }

    T& operator[](ULONG index) { return m_elements[index]; }

private:
    T* m_elements = nullptr;
};
