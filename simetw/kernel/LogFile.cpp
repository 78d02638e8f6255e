#include "LogFile.h"

#include <evntrace.h>

namespace simetw {

namespace {

constexpr std::uint32_t EtwVersion = 0x0501'000A;
constexpr std::uint32_t TimerResolution = 156'250;
constexpr std::uint32_t InvalidState = 2; // of compression: what files without any name

std::int64_t BootTime(const SessionClock& clock)
{
    return clock.StartTime() - static_cast<std::int64_t>(Uptime()) * FiletimePerMillisecond;
}

} // namespace

LogFile::~LogFile()
{
    if (m_file != INVALID_HANDLE_VALUE) {
        CloseHandle(m_file);
    }
}

LogFile::LogFile(LogFile&& other) noexcept
    : m_file(other.m_file), m_properties(other.m_properties), m_clock(other.m_clock),
      m_loggerId(other.m_loggerId), m_cpus(other.m_cpus), m_build(other.m_build), m_written(other.m_written)
{
    other.m_file = INVALID_HANDLE_VALUE;
}

std::uint32_t LogFile::Open(
    const SessionProperties& properties,
    const SessionClock& clock,
    std::uint16_t loggerId,
    std::uint32_t cpus,
    std::uint32_t build)
{
    m_properties = &properties;
    m_clock = &clock;
    m_loggerId = loggerId;
    m_cpus = cpus;
    m_build = build;
    m_file = CreateFileW(
        properties.LogFile,
        GENERIC_WRITE,
        FILE_SHARE_READ,
        nullptr,
        CREATE_ALWAYS,
        FILE_ATTRIBUTE_NORMAL,
        nullptr);
    if (m_file == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    return Write(FirstBuffer(nullptr)) ? ERROR_SUCCESS : ERROR_DISK_FULL;
}

bool LogFile::Write(const Bytes& buffer)
{
    const std::uint64_t size = std::uint64_t{m_properties->BufferSize} * 1024;
    const std::uint64_t largest = std::uint64_t{m_properties->MaximumFileSize} << 20;
    if (largest != 0 && (m_written + 1) * size > largest) {
        return false;
    }
    Bytes whole(buffer);
    whole.resize(size, 0xFF);
    HeaderOf(whole).BufferSize = static_cast<std::uint32_t>(size);
    DWORD done = 0;
    if (!WriteFile(m_file, whole.data(), static_cast<DWORD>(whole.size()), &done, nullptr) ||
        done != whole.size()) {
        return false;
    }
    m_written += 1;
    return true;
}

void LogFile::Close(const LogFileEnd& end)
{
    if (m_file == INVALID_HANDLE_VALUE) {
        return;
    }
    const Bytes first = FirstBuffer(&end);
    SetFilePointer(m_file, 0, nullptr, FILE_BEGIN);
    DWORD done = 0;
    WriteFile(m_file, first.data(), static_cast<DWORD>(first.size()), &done, nullptr);
    CloseHandle(m_file);
    m_file = INVALID_HANDLE_VALUE;
}

Bytes LogFile::FirstBuffer(const LogFileEnd* end) const
{
    TRACE_LOGFILE_HEADER header{};
    header.BufferSize = m_properties->BufferSize * 1024;
    header.Version = EtwVersion;
    header.ProviderVersion = m_build;
    header.NumberOfProcessors = m_cpus;
    header.TimerResolution = TimerResolution;
    header.MaximumFileSize = m_properties->MaximumFileSize;
    header.LogFileMode = m_properties->LogFileMode;
    header.PointerSize = sizeof(void*);
    header.CpuSpeedInMHz = CpuMegahertz;
    header.BootTime.QuadPart = BootTime(*m_clock);
    header.PerfFreq.QuadPart = QpcFrequency();
    header.StartTime.QuadPart = m_clock->StartTime();
    header.ReservedFlags = m_clock->Kind();
    if (end != nullptr) {
        header.EndTime.QuadPart = Filetime();
        header.BuffersWritten = m_written;
        header.StartBuffers = end->StartBuffers;
        header.EventsLost = end->EventsLost;
        header.BuffersLost = end->BuffersLost;
    }

    Bytes names;
    for (const wchar_t* const name : {m_properties->Name, m_properties->LogFile}) {
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(name);
        names.insert(names.end(), bytes, bytes + (std::wcslen(name) + 1) * sizeof(wchar_t));
    }
    SystemHeader record{};
    record.Version = 2;
    record.HeaderType = SystemType64;
    record.MarkerFlags = RecordMarker;
    record.Size = static_cast<std::uint16_t>(sizeof record + sizeof header + names.size());
    record.TimeStamp = m_clock->StartRaw();

    const std::size_t filled = sizeof(BufferHeader) + Aligned(record.Size);
    BufferHeader buffer{};
    buffer.BufferSize = header.BufferSize;
    buffer.SavedOffset = buffer.Filled = static_cast<std::uint32_t>(filled);
    buffer.TimeStamp = m_clock->StartRaw();
    buffer.LoggerId = m_loggerId;
    buffer.State = InvalidState;
    buffer.Flags = BufferFlushed;
    buffer.Type = BufferOfHeader;

    Bytes whole;
    Append(whole, buffer);
    Append(whole, record);
    Append(whole, header);
    whole.insert(whole.end(), names.begin(), names.end());
    whole.resize(filled);
    whole.resize(header.BufferSize, 0xFF);
    return whole;
}

} // namespace simetw
