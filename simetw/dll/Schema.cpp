// What is known of providers: their names, and the events of Microsoft-Windows-Kernel-Process.
#include "Api.h"

#include "Buffer.h"
#include "Client.h"
#include "Schema.h"

namespace simetw {

namespace {

constexpr ULONG SchemaOfManifest = 0; // DecodingSourceXMLFile
constexpr std::uint8_t Information = 4;

struct EventVersions {
    USHORT Id;
    UCHAR Opcode;
    ULONGLONG Keyword;
    ULONG Builds[6]; // the first that has this version; 0: none
};

constexpr ULONG Windows7 = 7600;
constexpr ULONG Windows8 = 9200;
constexpr ULONG Windows10v1511 = 10586;
constexpr ULONG Windows10v1903 = 18362;
constexpr ULONG Windows11v24H2 = 26100;
constexpr ULONG Windows11v26H1 = 28000;

constexpr EventVersions Events[] = {
    {1, 1, 0x10, {Windows7, Windows8, Windows10v1511, Windows10v1903, Windows11v24H2, Windows11v26H1}},
    {2, 2, 0x10, {Windows7, Windows8, Windows10v1903}},
    {3, 1, 0x20, {Windows7, Windows7}},
    {4, 2, 0x20, {Windows7, Windows7}},
    {5, 0, 0x40, {Windows7}},
    {6, 0, 0x40, {Windows7}},
    {15, 0, 0x10, {Windows10v1511, Windows10v1903, Windows11v24H2, Windows11v26H1}},
};

constexpr GUID WinInet = {0x43d1a55c, 0x76d6, 0x4f7e, {0x99, 0x5c, 0x64, 0xc7, 0x11, 0xe5, 0xca, 0xfe}};

struct Keyword {
    const GUID& Provider;
    const wchar_t* Name;
    ULONGLONG Value;
};

constexpr Keyword Keywords[] = {
    {KernelProcess, L"WINEVENT_KEYWORD_PROCESS", 0x10},
    {KernelProcess, L"WINEVENT_KEYWORD_THREAD", 0x20},
    {KernelProcess, L"WINEVENT_KEYWORD_IMAGE", 0x40},
    {KernelProcess, L"WINEVENT_KEYWORD_CPU_PRIORITY", 0x80},
    {KernelProcess, L"WINEVENT_KEYWORD_OTHER_PRIORITY", 0x100},
    {KernelProcess, L"WINEVENT_KEYWORD_PROCESS_FREEZE", 0x200},
    {SystemTraceControl, L"process", EVENT_TRACE_FLAG_PROCESS},
    {SystemTraceControl, L"thread", EVENT_TRACE_FLAG_THREAD},
    {SystemTraceControl, L"img", EVENT_TRACE_FLAG_IMAGE_LOAD},
    {SystemTraceControl, L"cswitch", EVENT_TRACE_FLAG_CSWITCH},
    {SystemTraceControl, L"dpc", EVENT_TRACE_FLAG_DPC},
    {SystemTraceControl, L"isr", EVENT_TRACE_FLAG_INTERRUPT},
    {SystemTraceControl, L"syscall", EVENT_TRACE_FLAG_SYSTEMCALL},
    {SystemTraceControl, L"disk", EVENT_TRACE_FLAG_DISK_IO},
    {WinInet, L"WININET_KEYWORD_HANDLES", 0x1},
    {WinInet, L"WININET_KEYWORD_HTTP", 0x2},
};

} // namespace

MachineState CurrentMachine()
{
    MachineState state{};
    Bytes answer;
    Ask(Operation::Machine, nullptr, 0, answer);
    Take(answer, state);
    return state;
}

ULONG Give(const Bytes& data, void* buffer, ULONG* size)
{
    const ULONG room = *size;
    *size = static_cast<ULONG>(data.size());
    if (buffer == nullptr || room < data.size()) {
        return ERROR_INSUFFICIENT_BUFFER;
    }
    std::memcpy(buffer, data.data(), data.size());
    return ERROR_SUCCESS;
}

void AppendText(Bytes& data, const wchar_t* text)
{
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text);
    data.insert(data.end(), bytes, bytes + (std::wcslen(text) + 1) * sizeof(wchar_t));
}

ULONG WINAPI EnumerateProviders(PROVIDER_ENUMERATION_INFO* buffer, ULONG* size)
{
    if (size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    const bool both = CurrentMachine().KernelProcessRegistered != 0;
    const ULONG count = both ? 2 : 1;
    auto name = static_cast<ULONG>(2 * sizeof(ULONG) + count * sizeof(TRACE_PROVIDER_INFO));
    Bytes data;
    Append(data, count);
    Append(data, ULONG{0});
    Append(data, TRACE_PROVIDER_INFO{SystemTraceControl, SchemaOfManifest + 1, name});
    if (both) {
        name += sizeof KernelTraceName;
        Append(data, TRACE_PROVIDER_INFO{KernelProcess, SchemaOfManifest, name});
    }
    AppendText(data, KernelTraceName);
    if (both) {
        AppendText(data, KernelProcessName);
    }
    return Give(data, buffer, size);
}

// Only keywords are known here; those of WinINet because programs ask for them.
ULONG WINAPI
EnumerateProviderFields(GUID* provider, EVENT_FIELD_TYPE type, PROVIDER_FIELD_INFOARRAY* buffer, ULONG* size)
{
    if (provider == nullptr || size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    std::vector<const Keyword*> found;
    for (const Keyword& keyword : Keywords) {
        if (IsEqualGUID(keyword.Provider, *provider)) {
            found.push_back(&keyword);
        }
    }
    if (type != EventKeywordInformation || found.empty()) {
        return ERROR_NOT_FOUND;
    }
    Bytes data;
    Bytes texts;
    const std::size_t head = 2 * sizeof(ULONG) + found.size() * sizeof(PROVIDER_FIELD_INFO);
    Append(data, static_cast<ULONG>(found.size()));
    Append(data, static_cast<ULONG>(type));
    for (const Keyword* const keyword : found) {
        const auto at = static_cast<ULONG>(head + texts.size());
        Append(data, PROVIDER_FIELD_INFO{at, at, keyword->Value});
        AppendText(texts, keyword->Name);
    }
    data.insert(data.end(), texts.begin(), texts.end());
    return Give(data, buffer, size);
}

ULONG WINAPI EnumerateProviderEvents(GUID* provider, void* buffer, ULONG* size)
{
    if (provider == nullptr || size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    const MachineState machine = CurrentMachine();
    if (!IsEqualGUID(*provider, KernelProcess) || machine.KernelProcessRegistered == 0) {
        return ERROR_NOT_FOUND;
    }
    Bytes descriptors;
    ULONG count = 0;
    for (const EventVersions& event : Events) {
        for (UCHAR version = 0; version < std::size(event.Builds); ++version) {
            const ULONG build = event.Builds[version];
            if (build != 0 && build <= machine.Build) {
                Append(
                    descriptors,
                    EVENT_DESCRIPTOR{
                        event.Id, version, 0x10, Information, event.Opcode, event.Id, event.Keyword});
                count += 1;
            }
        }
    }
    Bytes data;
    Append(data, count);
    Append(data, ULONG{0});
    data.insert(data.end(), descriptors.begin(), descriptors.end());
    return Give(data, buffer, size);
}

} // namespace simetw
