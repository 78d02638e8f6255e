// Sessions: started, asked, stopped.
#include "Api.h"

#include <algorithm>
#include <cwchar>

#include "Activity.h"
#include "Client.h"

namespace simetw {

namespace {

// The name at an offset behind the structure, or null when the offset can't be.
const wchar_t* NameAt(const EVENT_TRACE_PROPERTIES& properties, ULONG offset)
{
    if (offset < sizeof properties || offset >= properties.Wnode.BufferSize) {
        return nullptr;
    }
    return reinterpret_cast<const wchar_t*>(reinterpret_cast<const char*>(&properties) + offset);
}

bool CopyName(wchar_t* target, const wchar_t* name)
{
    const std::size_t length = std::wcslen(name);
    if (length >= NameLength) {
        return false;
    }
    std::wmemcpy(target, name, length + 1);
    return true;
}

// How many bytes a name at an offset may take.
std::size_t RoomAt(const EVENT_TRACE_PROPERTIES& properties, ULONG offset, ULONG otherOffset)
{
    const ULONG end = otherOffset > offset ? std::min(otherOffset, properties.Wnode.BufferSize)
                                           : properties.Wnode.BufferSize;
    return end > offset ? end - offset : 0;
}

bool PutName(EVENT_TRACE_PROPERTIES& properties, ULONG offset, ULONG otherOffset, const wchar_t* name)
{
    if (offset == 0) {
        return true; // the caller does not want it
    }
    const std::size_t size = (std::wcslen(name) + 1) * sizeof(wchar_t);
    if (size > RoomAt(properties, offset, otherOffset)) {
        return false;
    }
    std::memcpy(reinterpret_cast<char*>(&properties) + offset, name, size);
    return true;
}

// The properties as they are asked for; an error where they can't be.
ULONG Read(const EVENT_TRACE_PROPERTIES& from, SessionProperties& properties)
{
    properties.Guid = from.Wnode.Guid;
    properties.BufferSize = from.BufferSize;
    properties.MinimumBuffers = from.MinimumBuffers;
    properties.MaximumBuffers = from.MaximumBuffers;
    properties.MaximumFileSize = from.MaximumFileSize;
    properties.LogFileMode = from.LogFileMode;
    properties.FlushTimer = from.FlushTimer;
    properties.EnableFlags = from.EnableFlags;
    properties.ClientContext = from.Wnode.ClientContext;
    if (from.LogFileNameOffset == 0) {
        return ERROR_SUCCESS;
    }
    const wchar_t* const file = NameAt(from, from.LogFileNameOffset);
    if (file == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    // The kernel has a current directory of its own.
    const DWORD length = *file == L'\0' ? 0 : GetFullPathNameW(file, NameLength, properties.LogFile, nullptr);
    return length < NameLength ? ERROR_SUCCESS : ERROR_INVALID_PARAMETER;
}

// Fills what a query tells; false where a name does not fit.
bool Write(const SessionState& state, EVENT_TRACE_PROPERTIES& to)
{
    const SessionProperties& properties = state.Properties;
    to.Wnode.HistoricalContext = state.Handle;
    to.Wnode.Guid = properties.Guid;
    to.Wnode.ClientContext = properties.ClientContext;
    to.Wnode.Flags |= WNODE_FLAG_TRACED_GUID;
    to.BufferSize = properties.BufferSize;
    to.MinimumBuffers = properties.MinimumBuffers;
    to.MaximumBuffers = properties.MaximumBuffers;
    to.MaximumFileSize = properties.MaximumFileSize;
    to.LogFileMode = properties.LogFileMode;
    to.FlushTimer = properties.FlushTimer;
    to.EnableFlags = properties.EnableFlags;
    to.NumberOfBuffers = state.NumberOfBuffers;
    to.FreeBuffers = state.FreeBuffers;
    to.EventsLost = state.EventsLost;
    to.BuffersWritten = state.BuffersWritten;
    to.LogBuffersLost = state.LogBuffersLost;
    to.RealTimeBuffersLost = state.RealTimeBuffersLost;
    to.LoggerThreadId = nullptr;
    const bool name = PutName(to, to.LoggerNameOffset, to.LogFileNameOffset, properties.Name);
    return PutName(to, to.LogFileNameOffset, to.LoggerNameOffset, properties.LogFile) && name;
}

} // namespace

ULONG WINAPI StartSession(TRACEHANDLE* handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties)
{
    if (handle == nullptr || name == nullptr || properties == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    *handle = 0;
    if (properties->Wnode.BufferSize < sizeof *properties) {
        return ERROR_BAD_LENGTH;
    }
    if ((properties->Wnode.Flags & WNODE_FLAG_TRACED_GUID) == 0 ||
        NameAt(*properties, properties->LoggerNameOffset) == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    SessionProperties asked{};
    if (!CopyName(asked.Name, name)) {
        return ERROR_INVALID_PARAMETER;
    }
    if (const ULONG error = Read(*properties, asked)) {
        return error;
    }
    const std::size_t size = (std::wcslen(name) + 1) * sizeof(wchar_t);
    if (size > RoomAt(*properties, properties->LoggerNameOffset, properties->LogFileNameOffset)) {
        return ERROR_BAD_LENGTH;
    }
    Bytes answer;
    SessionState state;
    const ULONG error = Ask(Operation::Start, &asked, sizeof asked, answer);
    if (error == ERROR_SUCCESS && Take(answer, state)) {
        *handle = state.Handle;
        Write(state, *properties);
        NoteOwnSession((state.Properties.LogFileMode & EVENT_TRACE_SYSTEM_LOGGER_MODE) != 0);
    }
    return error;
}

ULONG WINAPI
ControlSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties, ULONG code)
{
    if (properties == nullptr || (handle == 0 && name == nullptr)) {
        return ERROR_INVALID_PARAMETER;
    }
    if (properties->Wnode.BufferSize < sizeof *properties) {
        return ERROR_BAD_LENGTH;
    }
    ControlRequest request{};
    request.Handle = handle;
    request.Code = code;
    if (code == EVENT_TRACE_CONTROL_UPDATE) {
        if (const ULONG error = Read(*properties, request.Properties)) {
            return error;
        }
    }
    if (name != nullptr && !CopyName(request.Properties.Name, name)) {
        return ERROR_INVALID_PARAMETER;
    }
    Bytes answer;
    SessionState state;
    const ULONG error = Ask(Operation::Control, &request, sizeof request, answer);
    if (error == ERROR_SUCCESS && Take(answer, state) && !Write(state, *properties)) {
        return ERROR_MORE_DATA;
    }
    return error;
}

ULONG WINAPI QuerySession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties)
{
    return ControlSession(handle, name, properties, EVENT_TRACE_CONTROL_QUERY);
}

ULONG WINAPI StopSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties)
{
    return ControlSession(handle, name, properties, EVENT_TRACE_CONTROL_STOP);
}

ULONG WINAPI UpdateSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties)
{
    return ControlSession(handle, name, properties, EVENT_TRACE_CONTROL_UPDATE);
}

ULONG WINAPI FlushSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties)
{
    return ControlSession(handle, name, properties, EVENT_TRACE_CONTROL_FLUSH);
}

ULONG WINAPI QueryAllSessions(EVENT_TRACE_PROPERTIES** properties, ULONG count, ULONG* sessions)
{
    if (properties == nullptr || count == 0 || sessions == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    for (ULONG index = 0; index < count; ++index) {
        if (properties[index] == nullptr || properties[index]->Wnode.BufferSize < sizeof **properties) {
            return ERROR_INVALID_PARAMETER;
        }
    }
    Bytes answer;
    const ULONG error = Ask(Operation::QueryAll, nullptr, 0, answer);
    const auto found = static_cast<ULONG>(answer.size() / sizeof(SessionState));
    *sessions = found;
    for (ULONG index = 0; index < std::min(found, count); ++index) {
        SessionState state;
        std::memcpy(&state, answer.data() + index * sizeof state, sizeof state);
        Write(state, *properties[index]);
    }
    return error == ERROR_SUCCESS && found > count ? ERROR_MORE_DATA : error;
}

} // namespace simetw
