// The Windows types, of their Windows sizes whatever the host's `long` and `wchar_t` are.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

using UCHAR = uint8_t;
using BOOLEAN = uint8_t;
using USHORT = uint16_t;
using UINT32 = uint32_t;
using ULONG = uint32_t;
using LONG = int32_t;
using INT64 = int64_t;
using LONG64 = int64_t;
using LONGLONG = int64_t;
using UINT64 = uint64_t;
using ULONG64 = uint64_t;
using ULONG_PTR = uintptr_t;
using SIZE_T = size_t;
using CCHAR = int8_t;
using WCHAR = wchar_t;
static_assert(sizeof(WCHAR) == 2, "compile with -fshort-wchar");

using PVOID = void*;
using HANDLE = void*;
using PCSTR = const char*;
using PWSTR = WCHAR*;
using PCWSTR = const WCHAR*;
using NTSTATUS = LONG;
using KIRQL = UCHAR;
using KPROCESSOR_MODE = CCHAR;
using ACCESS_MASK = ULONG;
using SECURITY_INFORMATION = ULONG;

constexpr BOOLEAN FALSE = 0;
constexpr BOOLEAN TRUE = 1;

struct UNICODE_STRING {
    USHORT Length; // in bytes, as is MaximumLength
    USHORT MaximumLength;
    PWSTR Buffer;
};

union LARGE_INTEGER {
    LONGLONG QuadPart;
};

struct LIST_ENTRY {
    LIST_ENTRY* Flink;
    LIST_ENTRY* Blink;
};

#define FIELD_OFFSET(Type, Field) static_cast<LONG>(offsetof(Type, Field))
#define CONTAINING_RECORD(Address, Type, Field)                                                              \
    reinterpret_cast<Type*>(reinterpret_cast<char*>(Address) - offsetof(Type, Field))

inline ULONG HandleToULong(HANDLE handle)
{
    return static_cast<ULONG>(reinterpret_cast<ULONG_PTR>(handle));
}

// Annotations for Code Analysis.
#define _IRQL_requires_(Irql)
#define _IRQL_requires_max_(Irql)
#define _IRQL_raises_(Irql)
#define _IRQL_saves_global_(Kind, Where)
#define _IRQL_restores_global_(Kind, Where)
#define _Must_inspect_result_
#define _Use_decl_annotations_
