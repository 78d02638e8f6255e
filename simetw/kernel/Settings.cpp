#include "Settings.h"

#include <algorithm>

namespace simetw {

void Settings::Change(Setting what, std::uint64_t value)
{
    switch (what) {
    case Setting::Cpus:
        Cpus = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(value, 1, 256));
        break;
    case Setting::Build:
        Build = static_cast<std::uint32_t>(value);
        break;
    case Setting::Elevated:
        Elevated = value != 0;
        break;
    case Setting::MillisecondFlush:
        MillisecondFlush = static_cast<FlushFlag>(value);
        break;
    case Setting::LoggerDelay:
        LoggerDelay = value;
        break;
    case Setting::Backlog:
        Backlog = static_cast<std::uint32_t>(value);
        break;
    case Setting::DiskFull:
        DiskFull = value != 0;
        break;
    case Setting::KernelProcessRegistered:
        KernelProcessRegistered = value != 0;
        break;
    case Setting::NameHeld:
        NameHeld = value;
        break;
    case Setting::SharedLoss:
        SharedLoss = value != 0;
        break;
    case Setting::OneStreamLimit:
        OneStreamLimit = static_cast<std::uint32_t>(value);
        break;
    case Setting::ListingRefused:
        ListingRefused = value != 0;
        break;
    case Setting::CaptureStateFrom:
        CaptureStateFrom = static_cast<std::uint32_t>(value);
        break;
    case Setting::Activity:
        Activity = static_cast<OwnActivity>(value);
        break;
    }
}

} // namespace simetw
