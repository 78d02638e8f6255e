// What Schema.cpp and Decode.cpp share: the shape that tdh's answers have.
#pragma once

#include "Pipe.h"

namespace simetw {

constexpr wchar_t KernelProcessName[] = L"Microsoft-Windows-Kernel-Process";
constexpr wchar_t KernelTraceName[] = L"Windows Kernel Trace";

// An answer, if the caller's buffer has room for it; the size that it needs in any case.
ULONG Give(const Bytes& data, void* buffer, ULONG* size);

// With its NUL.
void AppendText(Bytes& data, const wchar_t* text);

} // namespace simetw
