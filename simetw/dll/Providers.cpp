// Providers: enabled, and who enabled them.
#include "Api.h"

#include <algorithm>

#include "Activity.h"
#include "Client.h"

namespace simetw {

namespace {

constexpr ULONG FilterProcesses = 0x80000004; // EVENT_FILTER_TYPE_PID
constexpr ULONG FilterIds = 0x80000200;       // EVENT_FILTER_TYPE_EVENT_ID
constexpr ULONG FilterStacks = 0x80001000;    // EVENT_FILTER_TYPE_STACKWALK
constexpr ULONG MaxFilters = 13;
constexpr ULONG MaxLoggers = 64;

// EVENT_FILTER_EVENT_ID, which mingw-w64 lacks; the ids follow.
struct IdFilterHead {
    BOOLEAN FilterIn;
    UCHAR Reserved;
    USHORT Count;
};

bool ReadIdFilter(const EVENT_FILTER_DESCRIPTOR& descriptor, IdFilter& read)
{
    IdFilterHead filter;
    if (descriptor.Ptr == 0 || descriptor.Size < sizeof filter) {
        return false;
    }
    const auto* const data = reinterpret_cast<const std::uint8_t*>(descriptor.Ptr);
    std::memcpy(&filter, data, sizeof filter);
    if (filter.Count == 0 || filter.Count > MaxFilteredIds ||
        descriptor.Size < sizeof filter + filter.Count * sizeof(USHORT)) {
        return false;
    }
    read.IsSet = TRUE;
    read.FilterIn = filter.FilterIn;
    read.Count = filter.Count;
    std::memcpy(read.Ids, data + sizeof filter, filter.Count * sizeof(USHORT));
    return true;
}

bool ReadParameters(const ENABLE_TRACE_PARAMETERS& parameters, EnableRequest& request)
{
    request.EnableProperty = parameters.EnableProperty;
    if (parameters.Version == ENABLE_TRACE_PARAMETERS_VERSION) {
        return true; // its one filter is the provider's own affair
    }
    if (parameters.Version != ENABLE_TRACE_PARAMETERS_VERSION_2 || parameters.FilterDescCount > MaxFilters) {
        return false;
    }
    for (ULONG index = 0; index < parameters.FilterDescCount; ++index) {
        const EVENT_FILTER_DESCRIPTOR& descriptor = parameters.EnableFilterDesc[index];
        if (descriptor.Type == FilterProcesses) {
            request.FiltersProcesses = TRUE;
        } else if (descriptor.Type == FilterIds && !ReadIdFilter(descriptor, request.Events)) {
            return false;
        } else if (descriptor.Type == FilterStacks && !ReadIdFilter(descriptor, request.Stacks)) {
            return false;
        }
    }
    return true;
}

ULONG Give(const Bytes& data, void* out, ULONG outSize, ULONG* returned)
{
    if (returned != nullptr) {
        *returned = static_cast<ULONG>(data.size());
    }
    if (out == nullptr || outSize < data.size()) {
        return ERROR_INSUFFICIENT_BUFFER;
    }
    std::memcpy(out, data.data(), data.size());
    return ERROR_SUCCESS;
}

} // namespace

ULONG WINAPI EnableProvider(
    TRACEHANDLE handle,
    const GUID* provider,
    ULONG code,
    UCHAR level,
    ULONGLONG matchAny,
    ULONGLONG matchAll,
    ULONG,
    ENABLE_TRACE_PARAMETERS* parameters)
{
    if (provider == nullptr || handle == 0) {
        return ERROR_INVALID_PARAMETER;
    }
    EnableRequest request{};
    request.Session = handle;
    request.Provider = *provider;
    request.MatchAny = matchAny;
    request.MatchAll = matchAll;
    request.Code = code;
    request.Level = level;
    if (parameters != nullptr && !ReadParameters(*parameters, request)) {
        return ERROR_INVALID_PARAMETER;
    }
    Bytes answer;
    const ULONG error = Ask(Operation::Enable, &request, sizeof request, answer);
    if (error == ERROR_SUCCESS && code == EVENT_CONTROL_CODE_CAPTURE_STATE) {
        ListMyself(ActivityKind::CaptureState);
    }
    return error;
}

ULONG WINAPI
EnumerateGuids(TRACE_QUERY_INFO_CLASS what, void* in, ULONG inSize, void* out, ULONG outSize, ULONG* returned)
{
    GUID provider{};
    if (what == TraceGuidQueryInfo) {
        if (in == nullptr || inSize < sizeof provider) {
            return ERROR_INVALID_PARAMETER;
        }
        std::memcpy(&provider, in, sizeof provider);
    } else if (what != TraceGuidQueryList) {
        return ERROR_INVALID_PARAMETER;
    }
    Bytes answer;
    if (const ULONG error = Ask(Operation::ProviderInfo, &provider, sizeof provider, answer)) {
        return error;
    }
    if (what == TraceGuidQueryList) {
        return Give(answer, out, outSize, returned);
    }
    // Registered once, by the kernel, whose process is 0 here.
    Bytes info;
    Append(info, TRACE_GUID_INFO{1, 0});
    TRACE_PROVIDER_INSTANCE_INFO instance{};
    instance.EnableCount = static_cast<ULONG>(answer.size() / sizeof(TRACE_ENABLE_INFO));
    Append(info, instance);
    info.insert(info.end(), answer.begin(), answer.end());
    return Give(info, out, outSize, returned);
}

ULONG WINAPI SetInformation(TRACEHANDLE handle, TRACE_INFO_CLASS what, void* information, ULONG size)
{
    if (what == TraceStackTracingInfo) { // accepted; a test logs the stacks
        return information != nullptr && size % sizeof(CLASSIC_EVENT_ID) == 0 ? ERROR_SUCCESS
                                                                              : ERROR_INVALID_PARAMETER;
    }
    if (what != TraceSystemTraceEnableFlagsInfo || information == nullptr || size < sizeof(ULONG)) {
        return ERROR_NOT_SUPPORTED;
    }
    std::uint64_t values[2] = {handle, 0};
    std::memcpy(&values[1], information, sizeof(ULONG));
    Bytes answer;
    return Ask(Operation::SetEnableFlags, values, sizeof values, answer);
}

ULONG WINAPI
QueryInformation(TRACEHANDLE, TRACE_INFO_CLASS what, void* information, ULONG size, ULONG* returned)
{
    if (what != TraceMaxLoggersQuery) {
        return ERROR_NOT_SUPPORTED;
    }
    Bytes answer;
    Append(answer, MaxLoggers);
    return Give(answer, information, size, returned);
}

} // namespace simetw
