// The functions that stand in for Windows' own, by module and name.
#pragma once

#include <windows.h>

#include <evntcons.h>
#include <evntrace.h>
#include <tdh.h>

#include "Protocol.h"

namespace simetw {

// How the machine is now.
MachineState CurrentMachine();

struct Replacement {
    const char* Name;
    void* Function;
};

template <typename TFunction> Replacement Replace(const char* name, TFunction* function)
{
    return {name, reinterpret_cast<void*>(function)};
}

// Control.cpp
ULONG WINAPI StartSession(TRACEHANDLE* handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties);
ULONG WINAPI
ControlSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties, ULONG code);
ULONG WINAPI QuerySession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties);
ULONG WINAPI StopSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties);
ULONG WINAPI UpdateSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties);
ULONG WINAPI FlushSession(TRACEHANDLE handle, const wchar_t* name, EVENT_TRACE_PROPERTIES* properties);
ULONG WINAPI QueryAllSessions(EVENT_TRACE_PROPERTIES** properties, ULONG count, ULONG* sessions);

// Providers.cpp
ULONG WINAPI EnableProvider(
    TRACEHANDLE handle,
    const GUID* provider,
    ULONG code,
    UCHAR level,
    ULONGLONG matchAny,
    ULONGLONG matchAll,
    ULONG timeout,
    ENABLE_TRACE_PARAMETERS* parameters);
ULONG WINAPI EnumerateGuids(
    TRACE_QUERY_INFO_CLASS what, void* in, ULONG inSize, void* out, ULONG outSize, ULONG* returned);
ULONG WINAPI SetInformation(TRACEHANDLE handle, TRACE_INFO_CLASS what, void* information, ULONG size);
ULONG WINAPI
QueryInformation(TRACEHANDLE handle, TRACE_INFO_CLASS what, void* information, ULONG size, ULONG* returned);

// Elevation.cpp
// Remembers Windows' own function, before it is replaced.
void FindOriginals();
BOOL WINAPI TokenInformation(HANDLE token, int what, void* answer, DWORD size, DWORD* returned);

// Consumer.cpp
TRACEHANDLE WINAPI OpenConsumer(EVENT_TRACE_LOGFILEW* logfile);
ULONG WINAPI ProcessConsumer(TRACEHANDLE* handles, ULONG count, FILETIME* start, FILETIME* end);
ULONG WINAPI CloseConsumer(TRACEHANDLE handle);

// Schema.cpp
ULONG WINAPI EnumerateProviders(PROVIDER_ENUMERATION_INFO* buffer, ULONG* size);
ULONG WINAPI EnumerateProviderEvents(GUID* provider, void* buffer, ULONG* size);
ULONG WINAPI
EnumerateProviderFields(GUID* provider, EVENT_FIELD_TYPE type, PROVIDER_FIELD_INFOARRAY* buffer, ULONG* size);

// Decode.cpp
ULONG WINAPI
GetEventInformation(EVENT_RECORD* record, ULONG, TDH_CONTEXT*, TRACE_EVENT_INFO* buffer, ULONG* size);
ULONG WINAPI GetEventMapInformation(EVENT_RECORD*, wchar_t*, EVENT_MAP_INFO*, ULONG*);
ULONG WINAPI GetPropertySize(
    EVENT_RECORD* record, ULONG, TDH_CONTEXT*, ULONG count, PROPERTY_DATA_DESCRIPTOR* wanted, ULONG* size);
ULONG WINAPI GetProperty(
    EVENT_RECORD* record, ULONG, TDH_CONTEXT*, ULONG count, PROPERTY_DATA_DESCRIPTOR* wanted, ULONG room,
    BYTE* buffer);
ULONG WINAPI FormatProperty(
    TRACE_EVENT_INFO*,
    EVENT_MAP_INFO*,
    ULONG pointerSize,
    USHORT inType,
    USHORT,
    USHORT,
    USHORT dataSize,
    BYTE* data,
    ULONG* size,
    wchar_t* buffer,
    USHORT* consumed);

} // namespace simetw
