#include "Session.h"

#include <algorithm>
#include <cwchar>

#include <evntcons.h>

#include "Record.h"

namespace simetw {

namespace {

constexpr std::uint32_t UseMillisecondFlushTimer = 0x10; // EVENT_TRACE_USE_MS_FLUSH_TIMER
constexpr std::uint32_t IndependentSession = 0x08000000; // EVENT_TRACE_INDEPENDENT_SESSION_MODE
constexpr std::uint64_t MillisecondsPerSecond = 1000;

// An extended item as it stands in a file, with its data behind it.
struct ItemHeader {
    std::uint16_t Size; // with this header, and padded
    std::uint16_t Type;
    std::uint16_t Another; // 1: one more follows
    std::uint16_t DataSize;
};

// EVENT_ENABLE_PROPERTY_… of evntcons.h by EVENT_HEADER_EXT_TYPE_…; 0: whoever logs the event adds it.
std::uint32_t PropertyOf(std::uint16_t type)
{
    switch (type) {
    case 2:
        return 0x1; // SID
    case 3:
        return 0x2; // TS_ID
    case 5:
    case 6:
    case 17:
    case 18:
        return EVENT_ENABLE_PROPERTY_STACK_TRACE;
    case 9:
        return 0x8; // PSM_KEY
    case 10:
        return 0x100; // EVENT_KEY
    case 13:
        return 0x80; // PROCESS_START_KEY
    default:
        return 0;
    }
}

bool Passes(const IdFilter& filter, std::uint16_t id)
{
    const std::uint16_t* const end = filter.Ids + std::min<std::uint32_t>(filter.Count, MaxFilteredIds);
    return filter.IsSet == 0 || (std::find(filter.Ids, end, id) != end) == (filter.FilterIn != 0);
}

} // namespace

bool Enablement::Wants(const SimEvent& event) const
{
    if (FiltersProcesses && IsEqualGUID(event.Provider, KernelProcess)) {
        return false; // such a filter is for providers in those processes, and this one is in the kernel
    }
    if (Level != 0 && event.Level > Level) {
        return false;
    }
    if (event.Keyword != 0) {
        const bool any = MatchAny == 0 || (event.Keyword & MatchAny) != 0;
        if (!any || (event.Keyword & MatchAll) != MatchAll) {
            return false;
        }
    }
    return Passes(Events, event.Id);
}

bool Enablement::WantsItem(const SimEvent& event, std::uint16_t type) const
{
    const std::uint32_t property = PropertyOf(type);
    if ((Property & property) != property) {
        return false;
    }
    return property != EVENT_ENABLE_PROPERTY_STACK_TRACE || Passes(Stacks, event.Id);
}

Session::Session(
    const Settings& settings,
    std::uint16_t id,
    const SessionProperties& properties,
    const SessionClock& clock,
    std::uint32_t owner)
    : m_settings(settings), m_id(id), m_owner(owner), m_properties(properties), m_clock(clock),
      m_cpus((properties.LogFileMode & EVENT_TRACE_NO_PER_PROCESSOR_BUFFERING) != 0 ? 1 : settings.Cpus),
      m_started(Uptime()), m_flushDue(~0ull), m_allocated(properties.MinimumBuffers)
{
}

bool Session::IsRealTime() const
{
    return (m_properties.LogFileMode & EVENT_TRACE_REAL_TIME_MODE) != 0;
}

bool Session::IsSystemLogger() const
{
    return (m_properties.LogFileMode & EVENT_TRACE_SYSTEM_LOGGER_MODE) != 0;
}

bool Session::IsIndependent() const
{
    return (m_properties.LogFileMode & IndependentSession) != 0;
}

bool Session::IsRead() const
{
    return m_file.has_value() ||
           std::any_of(m_consumers.begin(), m_consumers.end(), [](const auto& each) { return each->Reading; });
}

bool Session::HasName(const wchar_t* name) const
{
    return _wcsicmp(m_properties.Name, name) == 0;
}

SessionState Session::State() const
{
    SessionState state{};
    state.Properties = m_properties;
    state.Handle = m_id;
    state.NumberOfBuffers = m_allocated;
    state.FreeBuffers = m_allocated - static_cast<std::uint32_t>(BuffersInUse());
    state.EventsLost = m_eventsLost;
    state.BuffersWritten = m_buffersWritten;
    state.LogBuffersLost = m_logBuffersLost;
    state.RealTimeBuffersLost = m_realTimeBuffersLost;
    state.Consumers = static_cast<std::uint32_t>(m_consumers.size());
    state.EnabledProviders = static_cast<std::uint32_t>(m_enabled.size());
    return state;
}

std::uint32_t Session::OpenLogFile()
{
    if (m_properties.LogFile[0] == L'\0') {
        return ERROR_SUCCESS;
    }
    m_file.emplace();
    return m_file->Open(m_properties, m_clock, m_id, m_settings.Cpus, m_settings.Build);
}

void Session::Update(const SessionProperties& properties)
{
    if (properties.MaximumBuffers > m_properties.MaximumBuffers) {
        m_properties.MaximumBuffers = properties.MaximumBuffers;
    }
    if (properties.FlushTimer != 0) {
        m_properties.FlushTimer = properties.FlushTimer;
    }
    if (IsSystemLogger()) {
        m_properties.EnableFlags = properties.EnableFlags;
    }
}

void Session::Enable(const EnableRequest& request)
{
    m_enabled[request.Provider] = {
        request.Level,
        request.MatchAny,
        request.MatchAll,
        request.EnableProperty,
        request.FiltersProcesses != 0,
        request.Events,
        request.Stacks};
}

const Enablement* Session::EnablementOf(const GUID& provider) const
{
    const auto found = m_enabled.find(provider);
    return found == m_enabled.end() ? nullptr : &found->second;
}

bool Session::Wants(const SimEvent& event) const
{
    if (const std::uint32_t flag = KernelFlagOf(event.Provider)) {
        return IsSystemLogger() && (m_properties.EnableFlags & flag) != 0;
    }
    const Enablement* const enabled = EnablementOf(event.Provider);
    return enabled != nullptr && enabled->Wants(event);
}

bool Session::Log(const SimEvent& event, const std::uint8_t* payload)
{
    if (IsOverLimit()) {
        CountLoss();
        return false;
    }
    SimEvent logged = event;
    Bytes chosen;
    if (event.ExtendedSize != 0 && IsEqualGUID(event.Provider, KernelProcess)) {
        chosen = ItemsOf(event, payload);
        logged.ExtendedSize = static_cast<std::uint32_t>(chosen.size());
        chosen.insert(chosen.end(), payload + event.ExtendedSize, payload + event.PayloadSize);
        logged.PayloadSize = static_cast<std::uint16_t>(chosen.size());
        payload = chosen.data();
    }
    const std::int64_t time = event.Time == 0 ? m_clock.Now() : m_clock.Raw(event.Time);
    std::uint8_t* const at = Reserve(event.Cpu, RecordSize(logged), time);
    if (at == nullptr) {
        return false;
    }
    WriteRecord(at, logged, payload, time);
    return true;
}

// The extended items of an event that this session asked for. Those of another provider are not chosen: they are
// the event itself, the user part of a stack that comes alone.
Bytes Session::ItemsOf(const SimEvent& event, const std::uint8_t* items) const
{
    Bytes wanted;
    const Enablement* const enabled = EnablementOf(event.Provider);
    std::size_t last = 0;
    for (std::size_t at = 0; at + sizeof(ItemHeader) <= event.ExtendedSize;) {
        ItemHeader header;
        std::memcpy(&header, items + at, sizeof header);
        const std::size_t size = header.Size;
        if (size < sizeof header || at + size > event.ExtendedSize) {
            break;
        }
        if (enabled != nullptr && enabled->WantsItem(event, header.Type)) {
            last = wanted.size();
            header.Another = 1;
            Append(wanted, header);
            wanted.insert(wanted.end(), items + at + sizeof header, items + at + size);
        }
        at += size;
    }
    if (!wanted.empty()) {
        const std::uint16_t none = 0;
        std::memcpy(wanted.data() + last + offsetof(ItemHeader, Another), &none, sizeof none);
    }
    return wanted;
}

void Session::TakeBack()
{
    Bytes& data = m_cpus[m_lastCpu].Data;
    data.resize(m_lastSize);
    if (m_lastSize == sizeof(BufferHeader)) {
        data = {};
    }
}

// More than one stream of buffers takes. Windows has no such number: a test sets it.
bool Session::IsOverLimit()
{
    if (m_settings.OneStreamLimit == 0 ||
        (m_properties.LogFileMode & EVENT_TRACE_NO_PER_PROCESSOR_BUFFERING) == 0) {
        return false;
    }
    const std::uint64_t second = Uptime() / MillisecondsPerSecond;
    if (second != m_limitedSecond) {
        m_limitedSecond = second;
        m_eventsInSecond = 0;
    }
    return ++m_eventsInSecond > m_settings.OneStreamLimit;
}

void Session::CountLoss()
{
    m_eventsLost += 1;
    m_lossFlags |= BufferEventsLost;
    m_untold |= BufferEventsLost;
}

std::uint8_t* Session::Reserve(std::uint32_t cpu, std::size_t size, std::int64_t time)
{
    const std::size_t room = std::size_t{m_properties.BufferSize} * 1024;
    const auto index = cpu % m_cpus.size();
    CpuBuffer& buffer = m_cpus[index];
    const std::size_t needed = Aligned(size);
    if (!buffer.Data.empty() && buffer.Data.size() + needed > room) {
        Close(buffer, 0);
    }
    const bool tooLarge = size > 0xFFFF || sizeof(BufferHeader) + needed > room;
    if (tooLarge || (buffer.Data.empty() && BuffersInUse() >= m_properties.MaximumBuffers)) {
        CountLoss();
        return nullptr;
    }
    if (buffer.Data.empty()) {
        buffer.Data.reserve(room);
        buffer.Data.resize(sizeof(BufferHeader));
        HeaderOf(buffer.Data).Cpu = static_cast<std::uint16_t>(index);
        m_allocated = std::max(m_allocated, static_cast<std::uint32_t>(BuffersInUse()));
        ScheduleFlush();
    }
    const std::size_t at = buffer.Data.size();
    m_lastCpu = index;
    m_lastSize = at;
    buffer.Data.resize(at + needed);
    HeaderOf(buffer.Data).TimeStamp = time;
    return buffer.Data.data() + at;
}

void Session::Close(CpuBuffer& buffer, std::uint16_t flags)
{
    BufferHeader& header = HeaderOf(buffer.Data);
    header.BufferSize = header.SavedOffset = header.CurrentOffset = header.Filled =
        static_cast<std::uint32_t>(buffer.Data.size());
    header.SequenceNumber = m_sequence++;
    header.ClockType = m_clock.Kind();
    header.LoggerId = m_id;
    header.State = 2;
    header.Flags = flags | m_lossFlags;
    m_lossFlags = 0;

    const std::uint64_t delay = m_settings.LoggerDelay;
    const std::uint64_t now = Uptime();
    m_full.push_back({std::move(buffer.Data), delay == NeverDrained ? ~0ull : now + delay});
    buffer.Data = {};
    if (delay == 0) {
        Drain(now);
    }
}

void Session::Drain(std::uint64_t now)
{
    while (!m_full.empty() && m_full.front().Due <= now) {
        Bytes data = std::move(m_full.front().Data);
        m_full.pop_front();
        Deliver(std::move(data));
    }
}

void Session::Deliver(Bytes&& data)
{
    m_buffersWritten += 1;
    if (m_file && (m_settings.DiskFull || !m_file->Write(data))) {
        m_logBuffersLost += 1;
    }
    if (!IsRealTime()) {
        return;
    }
    if (m_untold != 0 && HasRoom()) {
        TellLosses(data);
    }
    const auto shared = std::make_shared<const Bytes>(std::move(data));
    bool lost = false;
    for (const auto& consumer : m_consumers) {
        if (consumer->Waiting.size() < Backlog()) {
            consumer->Waiting.push_back(shared);
        } else {
            lost = true;
        }
    }
    if (m_consumers.empty()) {
        lost = m_unread.size() >= Backlog();
        if (!lost) {
            m_unread.push_back(shared);
        }
    }
    if (lost) {
        m_realTimeBuffersLost += 1;
        m_lossFlags |= BufferBuffersLost;
        m_untold |= BufferBuffersLost;
    }
}

// Whether one more buffer reaches a consumer, or will.
bool Session::HasRoom() const
{
    return (m_consumers.empty() && m_unread.size() < Backlog()) ||
           std::any_of(m_consumers.begin(), m_consumers.end(), [this](const auto& consumer) {
               return consumer->Waiting.size() < Backlog();
           });
}

// Puts RT_LostEvent before a buffer's records: from it a consumer learns of a loss without asking.
void Session::TellLosses(Bytes& data)
{
    for (const std::uint16_t loss : {BufferBuffersLost, BufferEventsLost}) {
        if ((m_untold & loss) != 0) {
            const auto record = LossRecord(loss == BufferEventsLost, HeaderOf(data).TimeStamp);
            data.insert(data.begin() + sizeof(BufferHeader), record.begin(), record.end());
        }
    }
    HeaderOf(data).Filled = static_cast<std::uint32_t>(data.size());
    m_untold = 0;
}

void Session::Flush()
{
    for (CpuBuffer& buffer : m_cpus) {
        if (!buffer.Data.empty()) {
            Close(buffer, BufferFlushed);
        }
    }
    m_flushDue = ~0ull;
}

void Session::Stop()
{
    Flush();
    DrainAll();
    for (const auto& consumer : m_consumers) {
        consumer->SessionEnded = true;
    }
    m_consumers.clear();
    if (m_file) {
        m_file->Close({m_eventsLost, m_logBuffersLost, m_allocated});
    }
}

void Session::Tick(std::uint64_t now)
{
    if (now >= m_flushDue) {
        Flush();
    }
    Drain(now);
}

void Session::DrainAll()
{
    Drain(~0ull);
}

std::uint64_t Session::NextTick() const
{
    return m_full.empty() ? m_flushDue : std::min(m_flushDue, m_full.front().Due);
}

void Session::ScheduleFlush()
{
    const bool inMilliseconds = (m_properties.LogFileMode & UseMillisecondFlushTimer) != 0 &&
                                m_settings.MillisecondFlush == FlushFlag::Honoured;
    std::uint64_t period = m_properties.FlushTimer;
    if (period == 0 && !IsRealTime()) {
        return; // a buffer goes to the file when it is full
    }
    if (!inMilliseconds) {
        period = std::max<std::uint64_t>(period, 1) * 1000;
    }
    period = std::max<std::uint64_t>(period, 1);
    if (m_flushDue == ~0ull) {
        m_flushDue = m_started + ((Uptime() - m_started) / period + 1) * period;
    }
}

void Session::Attach(const std::shared_ptr<Consumer>& consumer)
{
    consumer->Waiting.swap(m_unread);
    m_consumers.push_back(consumer);
}

void Session::Detach(const std::shared_ptr<Consumer>& consumer)
{
    std::erase(m_consumers, consumer);
    if (m_consumers.empty()) {
        m_unread.swap(consumer->Waiting);
    }
}

bool Session::IsBehind() const
{
    return std::any_of(m_consumers.begin(), m_consumers.end(), [this](const auto& consumer) {
        return consumer->Waiting.size() * 2 >= Backlog();
    });
}

std::size_t Session::BuffersInUse() const
{
    const auto filling = std::count_if(
        m_cpus.begin(), m_cpus.end(), [](const CpuBuffer& buffer) { return !buffer.Data.empty(); });
    return static_cast<std::size_t>(filling) + m_full.size();
}

std::size_t Session::Backlog() const
{
    return m_settings.Backlog != 0 ? m_settings.Backlog : m_properties.MaximumBuffers;
}

} // namespace simetw
