// The kernel's headers, and the little that C++ needs to live there.
#pragma once

// ntifs.h, not ntddk.h: it declares ZwSetSecurityObject, ObOpenObjectByPointer and the access control lists.
#include <ntifs.h>

// Reads "KDet" in pool tools, which show the lowest byte first.
constexpr ULONG KD_POOL_TAG = 'teDK';

// The kernel has no <new>. This one constructs in memory that is already there.
inline void* operator new(size_t, void* place) noexcept
{
    return place;
}
