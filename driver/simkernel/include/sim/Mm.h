// Memory manager: a buffer of a program, locked for direct I/O.
#pragma once

#include "Types.h"

struct MDL {
    PVOID Buffer;
    ULONG ByteCount;
};

constexpr ULONG NormalPagePriority = 16;
constexpr ULONG MdlMappingNoExecute = 0x40000000;

extern "C" PVOID MmGetSystemAddressForMdlSafe(MDL* mdl, ULONG priority);
