// What is known of providers: their names, and the events of Microsoft-Windows-Kernel-Process.
#include "Api.h"

#include "Buffer.h"
#include "Client.h"
#include "Schema.h"

namespace simetw {

namespace {

constexpr ULONG SchemaOfManifest = 0; // DecodingSourceXMLFile
constexpr wchar_t KernelTraceName[] = L"Windows Kernel Trace";
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

MachineState Machine()
{
    MachineState state{};
    Bytes answer;
    Ask(Operation::Machine, nullptr, 0, answer);
    Take(answer, state);
    return state;
}

} // namespace

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
    const bool both = Machine().KernelProcessRegistered != 0;
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

ULONG WINAPI EnumerateProviderEvents(GUID* provider, void* buffer, ULONG* size)
{
    if (provider == nullptr || size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    const MachineState machine = Machine();
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
