#include "Machine.h"

#include <algorithm>
#include <cwchar>
#include <cwctype>

#include <evntrace.h>
#include <evntprov.h>

namespace simetw {

namespace {

constexpr std::uint16_t MaxSessions = 64;
constexpr std::size_t MaxSessionsOfProvider = 8;
constexpr std::size_t MaxSystemLoggers = 8;
constexpr std::uint32_t MaxBufferKilobytes = 16384;
constexpr std::uint32_t DefaultBufferKilobytes = 64;
constexpr std::uint32_t UsualExtraBuffers = 20;
constexpr std::uint32_t UseMillisecondFlushTimer = 0x10;

std::wstring LowerCase(const wchar_t* name)
{
    std::wstring text = name;
    for (wchar_t& each : text) {
        each = static_cast<wchar_t>(std::towlower(each));
    }
    return text;
}

bool IsKernelLogger(const SessionProperties& properties)
{
    return _wcsicmp(properties.Name, KERNEL_LOGGER_NAMEW) == 0;
}

} // namespace

Machine::Machine()
{
    CloseHandle(CreateThread(nullptr, 0, Timer, this, 0, nullptr));
}

DWORD WINAPI Machine::Timer(void* machine)
{
    static_cast<Machine*>(machine)->Tick();
    return 0;
}

void Machine::Tick()
{
    const Guard guard(m_mutex);
    for (;;) {
        std::uint64_t now = Uptime();
        std::uint64_t next = ~0ull;
        bool delivered = false;
        for (const auto& [id, session] : m_sessions) {
            if (session->NextTick() <= now) {
                session->Tick(now);
                delivered = true;
            }
            next = std::min(next, session->NextTick());
        }
        if (delivered) {
            m_mutex.WakeAll();
        }
        now = Uptime();
        m_mutex.Wait(next == ~0ull ? INFINITE : next > now ? static_cast<DWORD>(next - now) : 0);
    }
}

std::uint32_t Machine::Failed(Call call)
{
    Failure& failure = m_failures[static_cast<std::size_t>(call)];
    if (failure.Times == 0) {
        return ERROR_SUCCESS;
    }
    failure.Times -= 1;
    return failure.Error;
}

Session* Machine::Find(std::uint64_t handle, const wchar_t* name)
{
    for (const auto& [id, session] : m_sessions) {
        if (handle != 0 ? handle == id : session->HasName(name)) {
            return session.get();
        }
    }
    return nullptr;
}

// What StartTrace refuses.
std::uint32_t Machine::Check(const SessionProperties& properties) const
{
    const std::uint32_t mode = properties.LogFileMode;
    const bool systemLogger = (mode & EVENT_TRACE_SYSTEM_LOGGER_MODE) != 0;
    const bool ownSystemLogger = systemLogger && !IsKernelLogger(properties);
    if (properties.Name[0] == L'\0' || properties.ClientContext > ClockCycles ||
        properties.BufferSize > MaxBufferKilobytes || (ownSystemLogger && m_settings.Build < Windows8) ||
        ((mode & UseMillisecondFlushTimer) != 0 && m_settings.MillisecondFlush == FlushFlag::Refused) ||
        (IsEqualGUID(properties.Guid, SystemTraceControl) && !systemLogger && !IsKernelLogger(properties))) {
        return ERROR_INVALID_PARAMETER;
    }
    if (properties.LogFile[0] == L'\0' &&
        (mode & (EVENT_TRACE_REAL_TIME_MODE | EVENT_TRACE_BUFFERING_MODE)) == 0) {
        return ERROR_BAD_PATHNAME;
    }
    if (!m_settings.Elevated) {
        return ERROR_ACCESS_DENIED;
    }
    std::size_t systemLoggers = 0;
    for (const auto& [id, session] : m_sessions) {
        const SessionProperties& other = session->Properties();
        if (session->HasName(properties.Name) ||
            (!IsEqualGUID(properties.Guid, GUID{}) && IsEqualGUID(other.Guid, properties.Guid))) {
            return ERROR_ALREADY_EXISTS;
        }
        if (properties.LogFile[0] != L'\0' && _wcsicmp(other.LogFile, properties.LogFile) == 0) {
            return ERROR_SHARING_VIOLATION;
        }
        systemLoggers += session->IsSystemLogger();
    }
    if (const auto held = m_heldNames.find(LowerCase(properties.Name));
        held != m_heldNames.end() && Uptime() < held->second) {
        return ERROR_ALREADY_EXISTS;
    }
    if (m_sessions.size() >= MaxSessions || (systemLogger && systemLoggers >= MaxSystemLoggers)) {
        return ERROR_NO_SYSTEM_RESOURCES;
    }
    return ERROR_SUCCESS;
}

// What Windows puts where a program left zeroes, or too little.
void Machine::Complete(SessionProperties& properties) const
{
    if (properties.BufferSize == 0) {
        properties.BufferSize = DefaultBufferKilobytes;
    }
    properties.BufferSize = std::max(properties.BufferSize, 4u);
    const bool oneForAll = (properties.LogFileMode & EVENT_TRACE_NO_PER_PROCESSOR_BUFFERING) != 0;
    const std::uint32_t least = 2 * (oneForAll ? 1 : m_settings.Cpus);
    properties.MinimumBuffers = std::max(properties.MinimumBuffers, least);
    if (properties.MaximumBuffers < properties.MinimumBuffers) {
        properties.MaximumBuffers =
            properties.MinimumBuffers + (properties.MaximumBuffers == 0 ? UsualExtraBuffers : 0);
    }
    if (properties.ClientContext == 0) {
        properties.ClientContext = ClockQpc;
    }
    if (IsEqualGUID(properties.Guid, GUID{})) {
        CoCreateGuid(&properties.Guid);
    }
    if ((properties.LogFileMode & EVENT_TRACE_REAL_TIME_MODE) != 0 && properties.FlushTimer == 0) {
        properties.FlushTimer = 1;
    }
}

std::uint32_t Machine::Start(const SessionProperties& asked, std::uint32_t owner, SessionState& state)
{
    const Guard guard(m_mutex);
    SessionProperties properties = asked;
    if (IsKernelLogger(properties)) {
        properties.Guid = SystemTraceControl;
        properties.LogFileMode |= EVENT_TRACE_SYSTEM_LOGGER_MODE;
    }
    if (const std::uint32_t error = Check(properties)) {
        return error;
    }
    if (const std::uint32_t error = Failed(Call::Start)) {
        return error;
    }
    Complete(properties);
    std::uint16_t id = 1;
    while (m_sessions.count(id) != 0) {
        ++id;
    }
    auto session =
        std::make_unique<Session>(m_settings, id, properties, SessionClock(properties.ClientContext), owner);
    if (const std::uint32_t error = session->OpenLogFile()) {
        return error;
    }
    state = session->State();
    Session& started = *(m_sessions[id] = std::move(session));
    if (started.IsSystemLogger()) {
        Offer(m_rundowns[static_cast<std::size_t>(Rundown::SessionStart)], &started);
    }
    m_mutex.WakeAll();
    return ERROR_SUCCESS;
}

std::uint32_t Machine::Control(const ControlRequest& request, SessionState& state)
{
    const Guard guard(m_mutex);
    if (!m_settings.Elevated) {
        return ERROR_ACCESS_DENIED;
    }
    Session* const session = Find(request.Handle, request.Properties.Name);
    if (session == nullptr) {
        return ERROR_WMI_INSTANCE_NOT_FOUND;
    }
    if (const std::uint32_t error = Failed(Call::Control)) {
        return error;
    }
    switch (request.Code) {
    case EVENT_TRACE_CONTROL_QUERY:
        state = session->State();
        break;
    case EVENT_TRACE_CONTROL_STOP:
        // The counts are those behind the last flush.
        Stop(*session);
        state = session->State();
        End(*session);
        break;
    case EVENT_TRACE_CONTROL_UPDATE:
        session->Update(request.Properties);
        state = session->State();
        break;
    case EVENT_TRACE_CONTROL_FLUSH:
        session->Flush();
        state = session->State();
        break;
    default:
        return ERROR_INVALID_PARAMETER;
    }
    m_mutex.WakeAll();
    return ERROR_SUCCESS;
}

void Machine::Stop(Session& session)
{
    if (session.IsSystemLogger()) {
        Offer(m_rundowns[static_cast<std::size_t>(Rundown::SessionEnd)], &session);
    }
    session.Stop();
}

void Machine::End(Session& session)
{
    if (m_settings.NameHeld != 0) {
        m_heldNames[LowerCase(session.Properties().Name)] = Uptime() + m_settings.NameHeld;
    }
    m_sessions.erase(session.Id());
}

std::uint32_t Machine::Enable(const EnableRequest& request)
{
    const Guard guard(m_mutex);
    if (!m_settings.Elevated) {
        return ERROR_ACCESS_DENIED;
    }
    Session* const session = Find(request.Session == 0 ? ~0ull : request.Session, L"");
    if (session == nullptr) {
        return ERROR_WMI_INSTANCE_NOT_FOUND;
    }
    if (const std::uint32_t error = Failed(Call::Enable)) {
        return error;
    }
    switch (request.Code) {
    case EVENT_CONTROL_CODE_DISABLE_PROVIDER:
        session->Disable(request.Provider);
        break;
    case EVENT_CONTROL_CODE_ENABLE_PROVIDER: {
        const auto users = std::count_if(m_sessions.begin(), m_sessions.end(), [&](const auto& each) {
            return each.second.get() != session && each.second->EnablementOf(request.Provider) != nullptr;
        });
        if (static_cast<std::size_t>(users) >= MaxSessionsOfProvider) {
            return ERROR_NO_SYSTEM_RESOURCES;
        }
        session->Enable(request);
        break;
    }
    case EVENT_CONTROL_CODE_CAPTURE_STATE:
        // Older ones do as they are told, and log nothing.
        if (m_settings.Build >= m_settings.CaptureStateFrom && IsEqualGUID(request.Provider, KernelProcess)) {
            Offer(m_rundowns[static_cast<std::size_t>(Rundown::CaptureState)], session);
        }
        break;
    default:
        return ERROR_INVALID_PARAMETER;
    }
    m_mutex.WakeAll();
    return ERROR_SUCCESS;
}

std::uint32_t Machine::QueryAll(std::vector<SessionState>& states)
{
    const Guard guard(m_mutex);
    if (!m_settings.Elevated) { // others see the sessions that they may query: none
        return m_settings.ListingRefused ? ERROR_ACCESS_DENIED : ERROR_SUCCESS;
    }
    for (const auto& [id, session] : m_sessions) {
        states.push_back(session->State());
    }
    return ERROR_SUCCESS;
}

std::uint32_t Machine::SetEnableFlags(std::uint64_t handle, std::uint32_t flags)
{
    const Guard guard(m_mutex);
    Session* const session = Find(handle == 0 ? ~0ull : handle, L"");
    if (session == nullptr) {
        return ERROR_WMI_INSTANCE_NOT_FOUND;
    }
    if (!session->IsSystemLogger()) {
        return ERROR_INVALID_PARAMETER;
    }
    session->SetEnableFlags(flags);
    return ERROR_SUCCESS;
}

MachineState Machine::State()
{
    const Guard guard(m_mutex);
    const std::int64_t boot = Filetime() - static_cast<std::int64_t>(Uptime()) * FiletimePerMillisecond;
    return {m_settings.Cpus, m_settings.Build, m_settings.KernelProcessRegistered, m_settings.Elevated, boot};
}

std::uint32_t Machine::ProviderInfo(const GUID& provider, Bytes& answer)
{
    const Guard guard(m_mutex);
    if (IsEqualGUID(provider, GUID{})) {
        if (m_settings.KernelProcessRegistered) {
            Append(answer, KernelProcess);
        }
        Append(answer, SystemTraceControl);
        return ERROR_SUCCESS;
    }
    const bool registered = IsEqualGUID(provider, KernelProcess) && m_settings.KernelProcessRegistered;
    if (!registered && !IsEqualGUID(provider, SystemTraceControl)) {
        return ERROR_WMI_GUID_NOT_FOUND;
    }
    for (const auto& [id, session] : m_sessions) {
        if (const Enablement* const enabled = session->EnablementOf(provider)) {
            TRACE_ENABLE_INFO info{};
            info.IsEnabled = TRUE;
            info.Level = enabled->Level;
            info.LoggerId = id;
            info.EnableProperty = enabled->Property;
            info.MatchAnyKeyword = enabled->MatchAny;
            info.MatchAllKeyword = enabled->MatchAll;
            Append(answer, info);
        }
    }
    return ERROR_SUCCESS;
}

std::uint32_t Machine::Open(const wchar_t* name, std::shared_ptr<Consumer>& consumer, ConsumerState& state)
{
    state.Machine = State();
    const Guard guard(m_mutex);
    if (!m_settings.Elevated) {
        return ERROR_ACCESS_DENIED;
    }
    if (const std::uint32_t error = Failed(Call::Open)) {
        return error;
    }
    consumer = std::make_shared<Consumer>();
    consumer->Id = m_nextConsumer++;
    m_consumers[consumer->Id] = consumer;
    state.Consumer = consumer->Id;
    // A session that is not there is no error yet: ProcessTrace says so.
    Session* const session = Find(0, name);
    if (session == nullptr || !session->IsRealTime()) {
        consumer->SessionEnded = true;
        return ERROR_SUCCESS;
    }
    session->Attach(consumer);
    state.Found = TRUE;
    state.Session = session->State();
    state.StartTime = session->Clock().StartTime();
    state.StartClock = session->Clock().StartRaw();
    state.Frequency = session->Clock().Frequency();
    return ERROR_SUCCESS;
}

bool Machine::TryNext(Consumer& consumer, const Window& window, NextAnswer& answer)
{
    if (const std::uint32_t error = Failed(Call::Process)) {
        answer = {TRUE, error, 0};
        return true;
    }
    if (consumer.Waiting.empty()) {
        return consumer.Closed || consumer.SessionEnded; // with the answer that it has ended
    }
    answer.Ended = FALSE;
    auto& waiting = consumer.Waiting;
    while (!waiting.empty() && answer.Size + waiting.front()->size() <= window.Size()) {
        std::memcpy(window.Data() + answer.Size, waiting.front()->data(), waiting.front()->size());
        answer.Size += static_cast<std::uint32_t>(waiting.front()->size());
        waiting.pop_front();
    }
    m_mutex.WakeAll();
    return true;
}

void Machine::CloseConsumer(std::uint64_t id)
{
    const Guard guard(m_mutex);
    if (const auto found = m_consumers.find(id); found != m_consumers.end()) {
        if (const auto consumer = found->second.lock()) {
            consumer->Closed = true;
        }
    }
    m_mutex.WakeAll();
}

void Machine::Leave(const wchar_t* name, const std::shared_ptr<Consumer>& consumer)
{
    const Guard guard(m_mutex);
    m_consumers.erase(consumer->Id);
    if (Session* const session = Find(0, name); session != nullptr && !consumer->SessionEnded) {
        session->Detach(consumer);
    }
    m_mutex.WakeAll();
}

} // namespace simetw
