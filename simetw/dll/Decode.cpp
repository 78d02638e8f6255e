// The decoding of events that programs ask tdh for: thread and image events of
// Microsoft-Windows-Kernel-Process.
#include "Api.h"

#include <cstdio>
#include <string>

#include "Buffer.h"
#include "Schema.h"

namespace simetw {

namespace {

// TDH_INTYPE_… and TDH_OUTTYPE_…, which mingw-w64 lacks.
constexpr USHORT InText = 1;
constexpr USHORT InUInt32 = 8;
constexpr USHORT InPointer = 16;
constexpr USHORT OutText = 1;
constexpr USHORT OutUnsigned = 8;
constexpr USHORT OutHex = 19;
constexpr USHORT OutProcess = 20;
constexpr USHORT OutThread = 21;

struct Field {
    const wchar_t* Name;
    USHORT InType;
    USHORT OutType;
};

constexpr Field ThreadFields[] = {
    {L"ProcessID", InUInt32, OutProcess},
    {L"ThreadID", InUInt32, OutThread},
    {L"StackBase", InPointer, OutHex},
    {L"StackLimit", InPointer, OutHex},
    {L"UserStackBase", InPointer, OutHex},
    {L"UserStackLimit", InPointer, OutHex},
    {L"StartAddr", InPointer, OutHex},
    {L"Win32StartAddr", InPointer, OutHex},
    {L"TebBase", InPointer, OutHex},
    {L"SubProcessTag", InUInt32, OutUnsigned},
};

constexpr Field ImageFields[] = {
    {L"ImageBase", InPointer, OutHex},
    {L"ImageSize", InPointer, OutHex},
    {L"ProcessID", InUInt32, OutProcess},
    {L"ImageCheckSum", InUInt32, OutUnsigned},
    {L"TimeDateStamp", InUInt32, OutUnsigned},
    {L"DefaultBase", InPointer, OutHex},
    {L"ImageName", InText, OutText},
};

struct EventFields {
    USHORT Id;
    UCHAR Version;
    const wchar_t* Task;
    const Field* Fields;
    ULONG Count;
};

constexpr EventFields Known[] = {
    {3, 0, L"ThreadStart", ThreadFields, static_cast<ULONG>(std::size(ThreadFields) - 1)},
    {3, 1, L"ThreadStart", ThreadFields, static_cast<ULONG>(std::size(ThreadFields))},
    {5, 0, L"ImageLoad", ImageFields, static_cast<ULONG>(std::size(ImageFields))},
    {6, 0, L"ImageUnload", ImageFields, static_cast<ULONG>(std::size(ImageFields))},
};

const EventFields* Find(const EVENT_HEADER& header)
{
    if (IsEqualGUID(header.ProviderId, KernelProcess)) {
        for (const EventFields& each : Known) {
            if (each.Id == header.EventDescriptor.Id && each.Version == header.EventDescriptor.Version) {
                return &each;
            }
        }
    }
    return nullptr;
}

// A field's value as text, and how many bytes it took; false where the data ends before it does.
bool Format(USHORT inType, ULONG pointerSize, const Bytes& data, std::wstring& text, std::size_t& used)
{
    if (inType == InText) {
        text.resize(data.size() / sizeof(wchar_t));
        std::memcpy(text.data(), data.data(), text.size() * sizeof(wchar_t));
        text.resize(std::min(text.size(), text.find(L'\0')));
        used = std::min(data.size(), (text.size() + 1) * sizeof(wchar_t));
        return true;
    }
    used = inType == InPointer ? pointerSize : sizeof(ULONG);
    if (data.size() < used) {
        return false;
    }
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), used);
    wchar_t digits[32];
    std::swprintf(digits, std::size(digits), inType == InPointer ? L"0x%llX" : L"%llu", value);
    text = digits;
    return true;
}

} // namespace

ULONG WINAPI
GetEventInformation(EVENT_RECORD* record, ULONG, TDH_CONTEXT*, TRACE_EVENT_INFO* buffer, ULONG* size)
{
    if (record == nullptr || size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    const EventFields* const event = Find(record->EventHeader);
    if (event == nullptr) {
        return ERROR_NOT_FOUND;
    }
    constexpr std::size_t head = offsetof(TRACE_EVENT_INFO, EventPropertyInfoArray);
    Bytes texts;
    const auto put = [&](const wchar_t* text) {
        const std::size_t at = head + event->Count * sizeof(EVENT_PROPERTY_INFO) + texts.size();
        AppendText(texts, text);
        return static_cast<ULONG>(at);
    };
    TRACE_EVENT_INFO info{};
    info.ProviderGuid = record->EventHeader.ProviderId;
    info.EventDescriptor = record->EventHeader.EventDescriptor;
    info.DecodingSource = DecodingSourceXMLFile;
    info.ProviderNameOffset = put(KernelProcessName);
    info.TaskNameOffset = put(event->Task);
    info.PropertyCount = info.TopLevelPropertyCount = event->Count;
    info.Flags = TEMPLATE_EVENT_DATA;

    Bytes whole(
        reinterpret_cast<const std::uint8_t*>(&info), reinterpret_cast<const std::uint8_t*>(&info) + head);
    for (ULONG index = 0; index < event->Count; ++index) {
        const Field& field = event->Fields[index];
        EVENT_PROPERTY_INFO property{};
        property.NameOffset = put(field.Name);
        property.nonStructType.InType = field.InType;
        property.nonStructType.OutType = field.OutType;
        property.count = 1;
        property.length = field.InType == InUInt32    ? sizeof(ULONG)
                          : field.InType == InPointer ? sizeof(void*)
                                                      : 0;
        Append(whole, property);
    }
    whole.insert(whole.end(), texts.begin(), texts.end());
    return Give(whole, buffer, size);
}

ULONG WINAPI GetEventMapInformation(EVENT_RECORD*, wchar_t*, EVENT_MAP_INFO*, ULONG*)
{
    return ERROR_NOT_FOUND;
}

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
    USHORT* consumed)
{
    if (inType != InText && inType != InUInt32 && inType != InPointer) {
        return ERROR_INVALID_PARAMETER;
    }
    std::wstring text;
    std::size_t used = 0;
    if (!Format(inType, pointerSize, Bytes(data, data + dataSize), text, used)) {
        return ERROR_EVT_INVALID_EVENT_DATA;
    }
    *consumed = static_cast<USHORT>(used);
    Bytes whole;
    AppendText(whole, text.c_str());
    return Give(whole, buffer, size);
}

} // namespace simetw
