// Reading a session in real time: buffers in, a callback for each event.
#include "Api.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Buffer.h"
#include "Client.h"
#include "Window.h"

namespace simetw {

namespace {

constexpr std::uint32_t ErrorCtxClosePending = 7007;
constexpr std::uint16_t FlagClassic = EVENT_HEADER_FLAG_CLASSIC_HEADER;
constexpr std::int64_t FiletimePerSecond = 10'000'000;

struct Trace {
    Pipe Connection;
    Window Buffers;
    std::wstring Session;
    EVENT_TRACE_LOGFILEW Logfile;
    ConsumerState State;
    std::atomic<bool> Running = false;
    std::atomic<bool> Closed = false;
};

SRWLOCK g_lock = SRWLOCK_INIT;
std::map<TRACEHANDLE, std::shared_ptr<Trace>>* g_open;
TRACEHANDLE g_next = 0x1000;

std::shared_ptr<Trace> Find(TRACEHANDLE handle)
{
    AcquireSRWLockShared(&g_lock);
    std::shared_ptr<Trace> trace;
    if (g_open != nullptr) {
        if (const auto found = g_open->find(handle); found != g_open->end()) {
            trace = found->second;
        }
    }
    ReleaseSRWLockShared(&g_lock);
    return trace;
}

const GUID& ClassOf(std::uint16_t hook)
{
    static constexpr GUID unknown{};
    if (hook == ImageLoadHook) {
        return ImageClass;
    }
    switch (hook >> 8) {
    case 0x00:
        return LostEventClass;
    case 0x03:
        return ProcessClass;
    case 0x05:
        return ThreadClass;
    case 0x14:
        return ImageClass;
    default:
        return unknown;
    }
}

// Calls the program back for the records of a buffer.
class Dispatcher final {
public:
    Dispatcher(const EVENT_TRACE_LOGFILEW& logfile, const ConsumerState& state)
        : m_callback(logfile.EventRecordCallback), m_state(state),
          m_raw((logfile.ProcessTraceMode & PROCESS_TRACE_MODE_RAW_TIMESTAMP) != 0)
    {
        m_record.UserContext = logfile.Context;
    }

    void Dispatch(std::uint8_t* buffer)
    {
        const auto& header = *reinterpret_cast<const BufferHeader*>(buffer);
        m_record.BufferContext.ProcessorNumber = static_cast<UCHAR>(header.Cpu);
        m_record.BufferContext.Alignment = 8;
        m_record.BufferContext.LoggerId = header.LoggerId;
        for (std::size_t at = sizeof header; at < header.Filled;) {
            std::uint8_t* const record = buffer + at;
            const std::size_t size = record[2] == SystemType32 || record[2] == SystemType64
                                         ? FromSystemRecord(record)
                                         : FromEventRecord(record);
            auto& time = m_record.EventHeader.TimeStamp.QuadPart;
            time = m_raw ? time : Filetime(time);
            m_callback(&m_record);
            at += Aligned(size);
        }
    }

private:
    std::size_t FromEventRecord(std::uint8_t* record)
    {
        EVENT_HEADER& header = m_record.EventHeader;
        std::memcpy(&header, record, sizeof header);
        const std::size_t size = header.Size;
        header.HeaderType = 0;
        std::size_t at = sizeof header;
        m_items.clear();
        for (bool more = (header.Flags & EVENT_HEADER_FLAG_EXTENDED_INFO) != 0; more;) {
            std::uint16_t item[4]; // size of the whole, type, whether another follows, size of the data
            std::memcpy(item, record + at, sizeof item);
            EVENT_HEADER_EXTENDED_DATA_ITEM given{};
            given.ExtType = item[1];
            given.DataSize = item[3];
            given.DataPtr = reinterpret_cast<ULONGLONG>(record + at + sizeof item);
            m_items.push_back(given);
            more = item[2] != 0;
            at += item[0];
        }
        m_record.ExtendedDataCount = static_cast<USHORT>(m_items.size());
        m_record.ExtendedData = m_items.data();
        Payload(record + at, size - at);
        return size;
    }

    std::size_t FromSystemRecord(std::uint8_t* record)
    {
        SystemHeader from;
        std::memcpy(&from, record, sizeof from);
        EVENT_HEADER& header = m_record.EventHeader;
        header = {};
        m_record.ExtendedDataCount = 0;
        header.Size = from.Size;
        header.Flags = static_cast<USHORT>(
            FlagClassic | (from.HeaderType == SystemType32 ? EVENT_HEADER_FLAG_32_BIT_HEADER
                                                           : EVENT_HEADER_FLAG_64_BIT_HEADER));
        header.ThreadId = from.ThreadId;
        header.ProcessId = from.ProcessId;
        header.TimeStamp.QuadPart = from.TimeStamp;
        header.ProviderId = ClassOf(from.HookId);
        header.EventDescriptor.Version = static_cast<UCHAR>(from.Version);
        header.EventDescriptor.Opcode = static_cast<UCHAR>(from.HookId);
        Payload(record + sizeof from, from.Size - sizeof from);
        return from.Size;
    }

    void Payload(std::uint8_t* data, std::size_t size)
    {
        m_record.UserDataLength = static_cast<USHORT>(size);
        m_record.UserData = size == 0 ? nullptr : data;
    }

    std::int64_t Filetime(std::int64_t raw) const
    {
        if (m_state.Frequency == FiletimePerSecond) {
            return m_state.StartTime + (raw - m_state.StartClock);
        }
        const auto ticks = static_cast<__int128>(raw - m_state.StartClock) * FiletimePerSecond;
        return m_state.StartTime + static_cast<std::int64_t>(ticks / m_state.Frequency);
    }

    const PEVENT_RECORD_CALLBACK m_callback;
    const ConsumerState& m_state;
    const bool m_raw;
    EVENT_RECORD m_record{};
    std::vector<EVENT_HEADER_EXTENDED_DATA_ITEM> m_items;
};

void Describe(const ConsumerState& state, EVENT_TRACE_LOGFILEW& logfile)
{
    TRACE_LOGFILE_HEADER& header = logfile.LogfileHeader;
    header = {};
    header.BufferSize = state.Session.Properties.BufferSize * 1024;
    header.ProviderVersion = state.Machine.Build;
    header.NumberOfProcessors = state.Machine.Cpus;
    header.LogFileMode = state.Session.Properties.LogFileMode;
    header.PointerSize = sizeof(void*);
    header.BootTime.QuadPart = state.Machine.BootTime;
    header.StartTime.QuadPart = state.StartTime;
    header.ReservedFlags = state.Session.Properties.ClientContext;
    LARGE_INTEGER frequency;
    QueryPerformanceFrequency(&frequency);
    header.PerfFreq = frequency;
}

ULONG Process(Trace& trace)
{
    if (trace.State.Found == FALSE) {
        return ERROR_WMI_INSTANCE_NOT_FOUND;
    }
    Dispatcher dispatcher(trace.Logfile, trace.State);
    Bytes answer;
    for (;;) {
        if (AskOver(trace.Connection, Operation::Next, nullptr, 0, answer) != ERROR_SUCCESS) {
            return ERROR_WMI_INSTANCE_NOT_FOUND;
        }
        NextAnswer head{};
        if (!Take(answer, head) || head.Ended != FALSE) {
            trace.State.Found = FALSE;
            return head.Error;
        }
        for (std::size_t at = 0; at < head.Size;) {
            std::uint8_t* const buffer = trace.Buffers.Data() + at;
            const std::uint32_t filled = reinterpret_cast<const BufferHeader*>(buffer)->Filled;
            dispatcher.Dispatch(buffer);
            trace.Logfile.BuffersRead += 1;
            trace.Logfile.Filled = filled;
            if (trace.Logfile.BufferCallback != nullptr && !trace.Logfile.BufferCallback(&trace.Logfile)) {
                return ERROR_CANCELLED;
            }
            at += filled;
        }
    }
}

} // namespace

TRACEHANDLE WINAPI OpenConsumer(EVENT_TRACE_LOGFILEW* logfile)
{
    constexpr ULONG mode = PROCESS_TRACE_MODE_REAL_TIME | PROCESS_TRACE_MODE_EVENT_RECORD;
    if (logfile == nullptr || logfile->LoggerName == nullptr || (logfile->ProcessTraceMode & mode) != mode ||
        logfile->EventRecordCallback == nullptr) {
        SetLastError(ERROR_INVALID_PARAMETER);
        return INVALID_PROCESSTRACE_HANDLE;
    }
    const auto trace = std::make_shared<Trace>();
    trace->Connection = Connect();
    trace->Session = logfile->LoggerName;
    Bytes answer;
    const ULONG error = AskOver(
        trace->Connection,
        Operation::Open,
        trace->Session.c_str(),
        (trace->Session.size() + 1) * sizeof(wchar_t),
        answer);
    if (error != ERROR_SUCCESS || !Take(answer, trace->State) ||
        !trace->Buffers.Open(trace->State.WindowName, trace->State.WindowSize)) {
        SetLastError(error != ERROR_SUCCESS ? error : ERROR_INVALID_DATA);
        return INVALID_PROCESSTRACE_HANDLE;
    }
    Describe(trace->State, *logfile);
    trace->Logfile = *logfile;
    trace->Logfile.LoggerName = trace->Session.data();

    AcquireSRWLockExclusive(&g_lock);
    if (g_open == nullptr) {
        g_open = new std::map<TRACEHANDLE, std::shared_ptr<Trace>>;
    }
    const TRACEHANDLE handle = g_next++;
    (*g_open)[handle] = trace;
    ReleaseSRWLockExclusive(&g_lock);
    return handle;
}

ULONG WINAPI ProcessConsumer(TRACEHANDLE* handles, ULONG count, FILETIME*, FILETIME*)
{
    if (handles == nullptr || count != 1) {
        return ERROR_INVALID_PARAMETER; // one session at a time in real time
    }
    const auto trace = Find(*handles);
    if (!trace || trace->Running.exchange(true)) {
        return ERROR_INVALID_HANDLE;
    }
    const ULONG error = Process(*trace);
    trace->Running = false;
    if (trace->Closed) {
        trace->Connection.Close();
    }
    return error;
}

ULONG WINAPI CloseConsumer(TRACEHANDLE handle)
{
    const auto trace = Find(handle);
    if (!trace) {
        return ERROR_INVALID_HANDLE;
    }
    AcquireSRWLockExclusive(&g_lock);
    g_open->erase(handle);
    ReleaseSRWLockExclusive(&g_lock);
    trace->Closed = true;
    if (!trace->Running) {
        return ERROR_SUCCESS;
    }
    Bytes answer;
    Ask(Operation::CloseConsumer, &trace->State.Consumer, sizeof trace->State.Consumer, answer);
    return ErrorCtxClosePending;
}

} // namespace simetw
