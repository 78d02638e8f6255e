// A tracing session: its buffers, whom it hears, and who reads it. Machine's lock guards it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "Buffer.h"
#include "Clock.h"
#include "LogFile.h"
#include "Settings.h"

namespace simetw {

// What a session asked of a provider.
struct Enablement {
    std::uint8_t Level = 0;
    std::uint64_t MatchAny = 0;
    std::uint64_t MatchAll = 0;
    std::uint32_t Property = 0;
    bool FiltersProcesses = false;
    IdFilter Events{};
    IdFilter Stacks{};

    bool Wants(const SimEvent& event) const;
    bool WantsItem(const SimEvent& event, std::uint16_t type) const;
};

struct GuidLess {
    bool operator()(const GUID& left, const GUID& right) const
    {
        return std::memcmp(&left, &right, sizeof(GUID)) < 0;
    }
};

using SharedBuffer = std::shared_ptr<const Bytes>;

// A program that reads a session in real time, and the buffers that wait for it.
struct Consumer {
    std::uint64_t Id = 0;
    std::deque<SharedBuffer> Waiting;
    bool Reading = false;      // ProcessTrace was called
    bool Closed = false;       // by CloseTrace
    bool SessionEnded = false; // and no buffer comes any more
};

class Session final {
public:
    Session(
        const Settings& settings,
        std::uint16_t id,
        const SessionProperties& properties,
        const SessionClock& clock,
        std::uint32_t owner);

    const SessionProperties& Properties() const { return m_properties; }
    const SessionClock& Clock() const { return m_clock; }
    std::uint16_t Id() const { return m_id; }
    // The process that started it.
    std::uint32_t Owner() const { return m_owner; }
    // Whether it shares no other session's losses.
    bool IsIndependent() const;
    // Whether what happens now reaches a file or a consumer that reads.
    bool IsRead() const;
    bool IsRealTime() const;
    bool IsSystemLogger() const;
    bool HasName(const wchar_t* name) const;
    SessionState State() const;

    // Opens the log file; the error where that fails.
    std::uint32_t OpenLogFile();

    void Update(const SessionProperties& properties);
    void SetEnableFlags(std::uint32_t flags) { m_properties.EnableFlags = flags; }
    void Enable(const EnableRequest& request);
    void Disable(const GUID& provider) { m_enabled.erase(provider); }
    const Enablement* EnablementOf(const GUID& provider) const;

    bool Wants(const SimEvent& event) const;
    Bytes ItemsOf(const SimEvent& event, const std::uint8_t* items) const;
    // Logs the event; false where there is no room for it, which is counted.
    bool Log(const SimEvent& event, const std::uint8_t* payload);
    // Takes the event that was logged last out again.
    void TakeBack();

    // Gives what the CPUs have filled so far to the file and the consumers.
    void Flush();
    // Flush, and the end of it.
    void Stop();
    // Does what is due at a time (in milliseconds of uptime).
    void Tick(std::uint64_t now);
    // The logger thread empties all that is full.
    void DrainAll();
    // When Tick has something to do next; ~0 for never.
    std::uint64_t NextTick() const;

    void Attach(const std::shared_ptr<Consumer>& consumer);
    void Detach(const std::shared_ptr<Consumer>& consumer);
    // Whether one more buffer of this session would be lost to a consumer soon.
    bool IsBehind() const;

private:
    struct CpuBuffer {
        Bytes Data; // empty: the CPU has none
        std::uint16_t Flags = 0;
    };
    struct FullBuffer {
        Bytes Data;
        std::uint64_t Due; // when the logger thread comes to it
    };

    std::uint8_t* Reserve(std::uint32_t cpu, std::size_t size, std::int64_t time);
    void Close(CpuBuffer& buffer, std::uint16_t flags);
    void Drain(std::uint64_t now);
    void Deliver(Bytes&& data);
    bool HasRoom() const;
    void TellLosses(Bytes& data);
    std::size_t BuffersInUse() const;
    std::size_t Backlog() const;
    void ScheduleFlush();

    bool IsOverLimit();
    void CountLoss();

    const Settings& m_settings;
    std::uint16_t m_id;
    std::uint32_t m_owner;
    SessionProperties m_properties;
    SessionClock m_clock;
    std::optional<LogFile> m_file;
    std::map<GUID, Enablement, GuidLess> m_enabled;
    std::vector<CpuBuffer> m_cpus;
    std::deque<FullBuffer> m_full;
    std::vector<std::shared_ptr<Consumer>> m_consumers;
    std::deque<SharedBuffer> m_unread; // while no consumer is there
    std::int64_t m_sequence = 0;
    std::uint64_t m_started; // ms of uptime
    std::uint64_t m_flushDue;
    std::uint32_t m_allocated; // buffers
    std::uint32_t m_eventsLost = 0;
    std::uint32_t m_buffersWritten = 0;
    std::uint32_t m_logBuffersLost = 0;
    std::uint32_t m_realTimeBuffersLost = 0;
    std::uint16_t m_lossFlags = 0; // for the next buffer
    std::uint16_t m_untold = 0;    // losses that no consumer heard of
    std::size_t m_lastCpu = 0;     // where the last event went, and what was there before it
    std::size_t m_lastSize = 0;
    std::uint64_t m_limitedSecond = 0; // of uptime
    std::uint32_t m_eventsInSecond = 0;
};

} // namespace simetw
