// Debugger support: the lines a kernel debugger shows.
#pragma once

#include "Types.h"

constexpr ULONG DPFLTR_IHVDRIVER_ID = 77;
constexpr ULONG DPFLTR_INFO_LEVEL = 3;

extern "C" __attribute__((format(printf, 3, 4))) ULONG
DbgPrintEx(ULONG component, ULONG level, PCSTR format, ...);
