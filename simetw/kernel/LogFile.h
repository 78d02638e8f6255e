// The .etl file of a session.
#pragma once

#include <string>

#include "Buffer.h"
#include "Clock.h"

namespace simetw {

// What the logfile header says when the file is closed.
struct LogFileEnd {
    std::uint32_t EventsLost;
    std::uint32_t BuffersLost;
    std::uint32_t StartBuffers;
};

class LogFile final {
public:
    LogFile() = default;
    ~LogFile();
    LogFile(LogFile&& other) noexcept;
    LogFile& operator=(LogFile&&) = delete;
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;

    // Creates the file and writes the first buffer, with the logfile header. Returns Windows' error.
    std::uint32_t Open(
        const SessionProperties& properties,
        const SessionClock& clock,
        std::uint16_t loggerId,
        std::uint32_t cpus,
        std::uint32_t build);
    // False when the file has reached its largest size, or can't be written.
    bool Write(const Bytes& buffer);
    // Finishes the logfile header.
    void Close(const LogFileEnd& end);

private:
    Bytes FirstBuffer(const LogFileEnd* end) const;

    HANDLE m_file = INVALID_HANDLE_VALUE;
    const SessionProperties* m_properties = nullptr;
    const SessionClock* m_clock = nullptr;
    std::uint16_t m_loggerId = 0;
    std::uint32_t m_cpus = 1;
    std::uint32_t m_build = 0;
    std::uint32_t m_written = 0; // buffers
    std::uint32_t m_startBuffers = 0;
};

} // namespace simetw
