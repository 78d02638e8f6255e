// System services: the registry, security, handles.
#pragma once

#include "Types.h"
#include "Ob.h"
#include "Rtl.h"

constexpr ACCESS_MASK KEY_READ = 0x20019;
constexpr ULONG REG_SZ = 1;
constexpr ULONG REG_DWORD = 4;
constexpr SECURITY_INFORMATION DACL_SECURITY_INFORMATION = 0x4;
constexpr SECURITY_INFORMATION PROTECTED_DACL_SECURITY_INFORMATION = 0x80000000;

enum KEY_VALUE_INFORMATION_CLASS { KeyValuePartialInformation = 2 };

struct KEY_VALUE_PARTIAL_INFORMATION {
    ULONG TitleIndex;
    ULONG Type;
    ULONG DataLength;
    UCHAR Data[1];
};

extern "C" {
NTSTATUS ZwClose(HANDLE handle);
NTSTATUS ZwOpenKey(HANDLE* key, ACCESS_MASK access, OBJECT_ATTRIBUTES* attributes);
NTSTATUS ZwQueryValueKey(
    HANDLE key,
    UNICODE_STRING* name,
    KEY_VALUE_INFORMATION_CLASS informationClass,
    PVOID information,
    ULONG length,
    ULONG* resultLength);
NTSTATUS ZwSetSecurityObject(HANDLE handle, SECURITY_INFORMATION information, PVOID descriptor);
}
