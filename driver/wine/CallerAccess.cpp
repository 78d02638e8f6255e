#include "CallerAccess.h"

// Of user mode; see kernelbase.def.
extern "C" __declspec(dllimport) int NTAPI CompareObjectHandles(HANDLE first, HANDLE second);

namespace {

// Handles are multiples of 4, and Wine gives away the lowest free one.
constexpr ULONG_PTR MOST_HANDLES = 4096;

ACCESS_MASK GrantedAccess(HANDLE handle)
{
    PUBLIC_OBJECT_BASIC_INFORMATION information{};
    const NTSTATUS status =
        ZwQueryObject(handle, ObjectBasicInformation, &information, sizeof(information), nullptr);
    return NT_SUCCESS(status) ? information.GrantedAccess : 0;
}

} // namespace

ACCESS_MASK FindCallerAccess(FILE_OBJECT* file)
{
    HANDLE own;
    if (!NT_SUCCESS(ObOpenObjectByPointer(file, OBJ_KERNEL_HANDLE, nullptr, 0, nullptr, KernelMode, &own))) {
        return 0;
    }
    ACCESS_MASK access = 0;
    for (ULONG_PTR index = 1; index <= MOST_HANDLES && access == 0; ++index) {
        const auto handle = reinterpret_cast<HANDLE>(4 * index);
        if (handle != own && CompareObjectHandles(handle, own)) {
            access = GrantedAccess(handle);
        }
    }
    ZwClose(own);
    return access;
}
