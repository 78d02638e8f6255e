// The machine's clocks, and a session's.
#pragma once

#include <cstdint>

#include <windows.h>

namespace simetw {

constexpr std::int64_t FiletimePerSecond = 10'000'000;
constexpr std::int64_t FiletimePerMillisecond = 10'000;
constexpr std::uint32_t CpuMegahertz = 3000;

enum ClockKind : std::uint32_t { ClockQpc = 1, ClockSystemTime = 2, ClockCycles = 3 };

std::int64_t Filetime();
std::int64_t Qpc();
std::int64_t QpcFrequency();
// Milliseconds since the machine's start; Wine's GetTickCount64 goes in steps of 16.
std::uint64_t Uptime();

// What Wnode.ClientContext chose, from the moment the session starts.
class SessionClock final {
public:
    explicit SessionClock(std::uint32_t kind);

    std::uint32_t Kind() const { return m_kind; }
    std::int64_t StartTime() const { return m_startTime; }
    std::int64_t StartRaw() const { return m_startRaw; }
    std::int64_t Frequency() const { return m_frequency; }

    std::int64_t Now() const;
    // The raw time of a FILETIME.
    std::int64_t Raw(std::int64_t time) const;

private:
    std::uint32_t m_kind;
    std::int64_t m_frequency; // raw ticks a second
    std::int64_t m_startTime;
    std::int64_t m_startRaw;
};

} // namespace simetw
