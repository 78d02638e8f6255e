// What programs do themselves, as the events that Windows logs of it.
#pragma once

#include <string>

#include "Pipe.h"

namespace simetw {

// A process or a thread that a program created, or the program itself.
struct Actor {
    std::uint32_t CreatorProcessId;
    std::uint32_t CreatorThreadId;
    std::uint32_t ProcessId;
    std::uint32_t ThreadId;
    std::uint64_t StartAddress;
    std::uint64_t ImageBase;
    std::uint64_t ImageSize;
    std::wstring Image; // as a path of the kernel
};

// Packed SimEvents, of Microsoft-Windows-Kernel-Process and of the system logger, in the versions of a build.
Bytes ProcessStarted(const Actor& actor, std::uint32_t build);
Bytes ThreadStarted(const Actor& actor, std::uint32_t build);
Bytes ProcessEnded(const Actor& actor, std::uint32_t build, std::uint32_t exitCode);
// As CAPTURE_STATE lists it, and as a system logger does when it starts.
Bytes ProcessListed(const Actor& actor, std::uint32_t build);
Bytes ProcessListedBySystem(const Actor& actor, std::uint32_t build);

} // namespace simetw
