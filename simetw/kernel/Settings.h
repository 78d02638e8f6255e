// How the simulated machine is, as a test sets it.
#pragma once

#include "Protocol.h"

namespace simetw {

enum class FlushFlag : std::uint64_t { Refused, Honoured, Ignored };

enum class OwnActivity : std::uint64_t { None, Logged, WithoutCreator };

struct Settings {
    std::uint32_t Cpus = 2;
    std::uint32_t Build = 19045;
    bool Elevated = true;
    FlushFlag MillisecondFlush = FlushFlag::Honoured;
    std::uint64_t LoggerDelay = 0; // ms
    std::uint32_t Backlog = 0;     // buffers; 0: MaximumBuffers
    bool DiskFull = false;
    bool KernelProcessRegistered = true;
    std::uint64_t NameHeld = 100; // ms
    bool SharedLoss = true;
    std::uint32_t OneStreamLimit = 0; // events a second; 0: none
    bool ListingRefused = true;
    std::uint32_t CaptureStateFrom = 10586;
    OwnActivity Activity = OwnActivity::Logged;

    void Change(Setting what, std::uint64_t value);
};

// The first builds of Windows 8 and Windows 8.1.
constexpr std::uint32_t Windows8 = 9200;

} // namespace simetw
