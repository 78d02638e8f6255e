#include "Clock.h"

namespace simetw {

namespace {

// value * multiplier / divisor without overflow on the way.
std::int64_t Scale(std::int64_t value, std::int64_t multiplier, std::int64_t divisor)
{
    return static_cast<std::int64_t>(static_cast<__int128>(value) * multiplier / divisor);
}

} // namespace

std::int64_t Filetime()
{
    FILETIME time;
    GetSystemTimePreciseAsFileTime(&time);
    return static_cast<std::int64_t>(time.dwHighDateTime) << 32 | time.dwLowDateTime;
}

std::int64_t Qpc()
{
    LARGE_INTEGER count;
    QueryPerformanceCounter(&count);
    return count.QuadPart;
}

std::int64_t QpcFrequency()
{
    LARGE_INTEGER frequency;
    QueryPerformanceFrequency(&frequency);
    return frequency.QuadPart;
}

std::uint64_t Uptime()
{
    return static_cast<std::uint64_t>(Scale(Qpc(), 1000, QpcFrequency()));
}

SessionClock::SessionClock(std::uint32_t kind)
    : m_kind(kind), m_frequency(
                        kind == ClockSystemTime ? FiletimePerSecond
                        : kind == ClockCycles   ? std::int64_t{CpuMegahertz} * 1'000'000
                                                : QpcFrequency()),
      m_startTime(Filetime()), m_startRaw(0)
{
    m_startRaw = Now();
}

std::int64_t SessionClock::Now() const
{
    switch (m_kind) {
    case ClockSystemTime:
        return Filetime();
    case ClockCycles:
        return Scale(Qpc(), m_frequency, QpcFrequency());
    default:
        return Qpc();
    }
}

std::int64_t SessionClock::Raw(std::int64_t time) const
{
    return m_startRaw + Scale(time - m_startTime, m_frequency, FiletimePerSecond);
}

} // namespace simetw
