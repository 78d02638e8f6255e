#include "SimEtw.h"

#include <algorithm>

#include "Client.h"

using namespace simetw;

namespace {

std::uint32_t Order(Operation operation, const void* body, std::size_t size)
{
    SetDriver();
    Bytes answer;
    return Ask(operation, body, size, answer);
}

// For what takes long: the shared connection stays free.
std::uint32_t OrderAlone(Operation operation, const void* body, std::size_t size)
{
    SetDriver();
    Pipe pipe = Connect();
    Bytes answer;
    return AskOver(pipe, operation, body, size, answer);
}

} // namespace

std::uint32_t sim_drive()
{
    SetDriver();
    return ERROR_SUCCESS;
}

std::uint32_t sim_reset()
{
    return Order(Operation::Reset, nullptr, 0);
}

std::uint32_t sim_set(std::uint32_t setting, std::uint64_t value)
{
    const SetRequest request{static_cast<Setting>(setting), 0, value};
    return Order(Operation::Set, &request, sizeof request);
}

std::uint32_t sim_fail(std::uint32_t call, std::uint32_t error, std::uint32_t times)
{
    const FailRequest request{static_cast<Call>(call), error, times};
    return Order(Operation::Fail, &request, sizeof request);
}

std::uint32_t sim_log(const void* events, std::size_t size)
{
    return Order(Operation::Log, events, size);
}

std::uint32_t sim_set_rundown(std::uint32_t which, const void* events, std::size_t size)
{
    Bytes body;
    Append(body, which);
    const auto* const bytes = static_cast<const std::uint8_t*>(events);
    body.insert(body.end(), bytes, bytes + size);
    return Order(Operation::SetRundown, body.data(), body.size());
}

std::uint32_t sim_repeat(const void* request, std::size_t size)
{
    return OrderAlone(Operation::Repeat, request, size);
}

std::uint32_t sim_list(SessionState* states, std::uint32_t room, std::uint32_t* count)
{
    Bytes answer;
    const std::uint32_t error = Ask(Operation::List, nullptr, 0, answer);
    *count = static_cast<std::uint32_t>(answer.size() / sizeof(SessionState));
    std::memcpy(states, answer.data(), std::min(*count, room) * sizeof(SessionState));
    return error;
}

std::uint32_t sim_stop_session(const wchar_t* name)
{
    return Order(Operation::StopSession, name, (std::wcslen(name) + 1) * sizeof(wchar_t));
}

std::uint32_t sim_disable_provider(const wchar_t* session, const GUID* provider)
{
    DisableRequest request{};
    std::wcsncpy(request.Session, session, NameLength - 1);
    request.Provider = *provider;
    return Order(Operation::DisableProvider, &request, sizeof request);
}
