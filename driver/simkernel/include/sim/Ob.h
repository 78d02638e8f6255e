// Object manager: handles to objects.
#pragma once

#include "Types.h"

constexpr ULONG OBJ_CASE_INSENSITIVE = 0x40;
constexpr ULONG OBJ_KERNEL_HANDLE = 0x200;

struct OBJECT_ATTRIBUTES {
    ULONG Length;
    HANDLE RootDirectory;
    UNICODE_STRING* ObjectName;
    ULONG Attributes;
};

#define InitializeObjectAttributes(Target, Name, Flags, Root, Descriptor)                                    \
    (*(Target) = {sizeof(OBJECT_ATTRIBUTES), (Root), (Name), (Flags)}, static_cast<void>(Descriptor))

extern "C" NTSTATUS ObOpenObjectByPointer(
    PVOID object,
    ULONG attributes,
    PVOID accessState,
    ACCESS_MASK access,
    PVOID objectType,
    KPROCESSOR_MODE mode,
    HANDLE* handle);
