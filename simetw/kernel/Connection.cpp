#include "Connection.h"

#include <algorithm>
#include <cwchar>

namespace simetw {

namespace {

Mutex g_mutex;
std::map<std::wstring, std::unique_ptr<Machine>> g_machines; // one lives as long as the process

// The text that a body is, or begins with.
std::wstring TextOf(const Bytes& body)
{
    std::wstring text(body.size() / sizeof(wchar_t), L'\0');
    std::memcpy(text.data(), body.data(), text.size() * sizeof(wchar_t));
    return text.substr(0, text.find(L'\0'));
}

// Room for several buffers, and for one of the largest with the losses told in it.
std::uint32_t WindowSizeFor(const SessionState& session)
{
    constexpr std::uint32_t usual = 1u << 20;
    constexpr std::uint32_t losses = 4096;
    return std::max(usual, session.Properties.BufferSize * 1024 + losses);
}

void Terminate(SessionProperties& properties)
{
    properties.Name[NameLength - 1] = L'\0';
    properties.LogFile[NameLength - 1] = L'\0';
}

} // namespace

Connection::~Connection()
{
    if (m_consumer) {
        m_machine->Leave(m_session.c_str(), m_consumer);
    }
}

void Connection::Serve()
{
    std::uint32_t operation = 0;
    Bytes body;
    Bytes answer;
    while (m_pipe.Receive(operation, body)) {
        answer.clear();
        const std::uint32_t error = Answer(static_cast<Operation>(operation), body, answer);
        if (!m_pipe.Send(error, answer.data(), answer.size())) {
            return;
        }
    }
}

std::uint32_t Connection::Answer(Operation operation, Bytes& body, Bytes& answer)
{
    if (operation == Operation::Hello) {
        return Hello(body);
    }
    if (m_machine == nullptr) {
        return ERROR_INVALID_FUNCTION;
    }
    SessionState state{};
    std::uint32_t error = ERROR_INVALID_DATA;
    switch (operation) {
    case Operation::Start:
        if (SessionProperties properties; Take(body, properties)) {
            Terminate(properties);
            error = m_machine->Start(properties, m_program, state);
            Append(answer, state);
        }
        return error;
    case Operation::Control:
        if (ControlRequest request; Take(body, request)) {
            Terminate(request.Properties);
            error = m_machine->Control(request, state);
            Append(answer, state);
        }
        return error;
    case Operation::Enable:
        if (EnableRequest request; Take(body, request)) {
            error = m_machine->Enable(request);
        }
        return error;
    case Operation::QueryAll:
        if (std::vector<SessionState> states; (error = m_machine->QueryAll(states)) == ERROR_SUCCESS) {
            for (const SessionState& each : states) {
                Append(answer, each);
            }
        }
        return error;
    case Operation::Activity:
        if (ActivityRequest request; Take(body, request)) {
            m_machine->Act(m_program, request, TextOf({body.begin() + sizeof request, body.end()}));
            error = ERROR_SUCCESS;
        }
        return error;
    case Operation::SetEnableFlags:
        if (std::uint64_t values[2]; Take(body, values)) {
            error = m_machine->SetEnableFlags(values[0], static_cast<std::uint32_t>(values[1]));
        }
        return error;
    case Operation::Machine:
        Append(answer, m_machine->State());
        return ERROR_SUCCESS;
    case Operation::ProviderInfo:
        if (GUID provider; Take(body, provider)) {
            error = m_machine->ProviderInfo(provider, answer);
        }
        return error;
    case Operation::Open:
        return Open(body, answer);
    case Operation::Next:
        if (m_consumer) {
            const auto alive = [this] {
                return !m_pipe.IsBroken();
            };
            Append(answer, m_machine->Next(*m_consumer, alive, m_window));
            error = ERROR_SUCCESS;
        }
        return error;
    case Operation::CloseConsumer:
        if (std::uint64_t id; Take(body, id)) {
            m_machine->CloseConsumer(id);
            error = ERROR_SUCCESS;
        }
        return error;
    default:
        return Order(operation, body, answer);
    }
}

std::uint32_t Connection::Hello(const Bytes& body)
{
    HelloRequest request;
    if (!Take(body, request)) {
        return ERROR_INVALID_DATA;
    }
    m_program = request.ProcessId;
    const Guard guard(g_mutex);
    auto& machine = g_machines[TextOf({body.begin() + sizeof request, body.end()})];
    if (!machine) {
        machine = std::make_unique<Machine>();
    }
    m_machine = machine.get();
    return ERROR_SUCCESS;
}

std::uint32_t Connection::Open(const Bytes& body, Bytes& answer)
{
    if (m_consumer) {
        return ERROR_INVALID_FUNCTION;
    }
    m_session = TextOf(body);
    ConsumerState state{};
    std::uint32_t error = m_machine->Open(m_session.c_str(), m_consumer, state);
    if (error == ERROR_SUCCESS) {
        static LONG count;
        const LONG number = InterlockedIncrement(&count);
        std::swprintf(
            state.WindowName,
            std::size(state.WindowName),
            L"etwdetect-simetw-%lu-%ld",
            GetCurrentProcessId(),
            number);
        state.WindowSize = WindowSizeFor(state.Session);
        error = m_window.Create(state.WindowName, state.WindowSize) ? ERROR_SUCCESS : GetLastError();
    }
    Append(answer, state);
    return error;
}

std::uint32_t Connection::Order(Operation operation, Bytes& body, Bytes& answer)
{
    bool done = false;
    switch (operation) {
    case Operation::Reset:
        m_machine->Reset();
        return ERROR_SUCCESS;
    case Operation::Set:
        if (SetRequest request; Take(body, request)) {
            m_machine->Set(request);
            done = true;
        }
        break;
    case Operation::Fail:
        if (FailRequest request; Take(body, request)) {
            m_machine->Fail(request);
            done = true;
        }
        break;
    case Operation::Log:
        done = m_machine->Log(body);
        break;
    case Operation::Repeat:
        done = m_machine->Repeat(body);
        break;
    case Operation::List:
        for (const SessionState& each : m_machine->List()) {
            Append(answer, each);
        }
        return ERROR_SUCCESS;
    case Operation::SetRundown:
        if (std::uint32_t which; Take(body, which)) {
            body.erase(body.begin(), body.begin() + sizeof which);
            done = m_machine->SetRundown(static_cast<Rundown>(which), std::move(body));
        }
        break;
    case Operation::StopSession:
        return m_machine->StopSession(TextOf(body).c_str()) ? ERROR_SUCCESS : ERROR_WMI_INSTANCE_NOT_FOUND;
    case Operation::DisableProvider:
        if (DisableRequest request; Take(body, request)) {
            request.Session[NameLength - 1] = L'\0';
            return m_machine->DisableProvider(request) ? ERROR_SUCCESS : ERROR_WMI_INSTANCE_NOT_FOUND;
        }
        break;
    default:
        return ERROR_INVALID_FUNCTION;
    }
    return done ? ERROR_SUCCESS : ERROR_INVALID_DATA;
}

} // namespace simetw
