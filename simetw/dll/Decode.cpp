// The decoding of events that programs ask tdh for.
#include "Api.h"

#include "Buffer.h"
#include "Fields.h"
#include "Schema.h"

namespace simetw {

namespace {

std::size_t PointerSize(const EVENT_RECORD& record)
{
    return (record.EventHeader.Flags & EVENT_HEADER_FLAG_32_BIT_HEADER) != 0 ? 4 : 8;
}

// The value of a property by its name, as the event has it.
ULONG FindProperty(
    EVENT_RECORD* record, ULONG count, const PROPERTY_DATA_DESCRIPTOR* wanted, const std::uint8_t*& value,
    std::size_t& size)
{
    if (record == nullptr || count != 1 || wanted == nullptr || wanted->PropertyName == 0) {
        return ERROR_INVALID_PARAMETER;
    }
    const auto* const name = reinterpret_cast<const wchar_t*>(wanted->PropertyName);
    value = static_cast<const std::uint8_t*>(record->UserData);
    std::size_t left = record->UserDataLength;
    const EventFields* const event = FieldsOf(record->EventHeader);
    if (event == nullptr) {
        return ERROR_NOT_FOUND;
    }
    for (const Field& field : event->Fields) {
        size = SizeOfValue(field.Type, PointerSize(*record), value, left);
        if (size == 0) {
            return ERROR_EVT_INVALID_EVENT_DATA;
        }
        if (_wcsicmp(field.Name.c_str(), name) == 0) {
            return ERROR_SUCCESS;
        }
        value += size;
        left -= size;
    }
    return ERROR_NOT_FOUND;
}

} // namespace

ULONG WINAPI
GetEventInformation(EVENT_RECORD* record, ULONG, TDH_CONTEXT*, TRACE_EVENT_INFO* buffer, ULONG* size)
{
    if (record == nullptr || size == nullptr) {
        return ERROR_INVALID_PARAMETER;
    }
    const EventFields* const event = FieldsOf(record->EventHeader);
    if (event == nullptr) {
        return ERROR_NOT_FOUND;
    }
    constexpr std::size_t head = offsetof(TRACE_EVENT_INFO, EventPropertyInfoArray);
    const auto count = static_cast<ULONG>(event->Fields.size());
    Bytes texts;
    const auto put = [&](const std::wstring& text) {
        const std::size_t at = head + count * sizeof(EVENT_PROPERTY_INFO) + texts.size();
        AppendText(texts, text.c_str());
        return static_cast<ULONG>(at);
    };
    TRACE_EVENT_INFO info{};
    info.ProviderGuid = record->EventHeader.ProviderId;
    info.EventDescriptor = record->EventHeader.EventDescriptor;
    info.DecodingSource = event->Source;
    info.ProviderNameOffset = put(event->Provider);
    info.TaskNameOffset = put(event->Task);
    info.PropertyCount = info.TopLevelPropertyCount = count;
    info.Flags = TEMPLATE_EVENT_DATA;

    Bytes whole(
        reinterpret_cast<const std::uint8_t*>(&info), reinterpret_cast<const std::uint8_t*>(&info) + head);
    for (const Field& field : event->Fields) {
        constexpr std::uint8_t zeroes[16]{};
        const bool fixed = field.Type >= InUInt8 && field.Type <= InFiletime;
        EVENT_PROPERTY_INFO property{};
        property.NameOffset = put(field.Name);
        property.nonStructType.InType = field.Type;
        property.nonStructType.OutType = field.OutType;
        property.count = 1;
        property.length = static_cast<USHORT>(
            fixed ? SizeOfValue(field.Type, PointerSize(*record), zeroes, sizeof zeroes) : 0);
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
    const auto type = static_cast<InType>(inType);
    const std::size_t used = SizeOfValue(type, pointerSize, data, dataSize);
    if (used == 0) {
        return ERROR_EVT_INVALID_EVENT_DATA;
    }
    *consumed = static_cast<USHORT>(used);
    Bytes whole;
    AppendText(whole, TextOfValue(type, data, used).c_str());
    return Give(whole, buffer, size);
}

ULONG WINAPI GetPropertySize(
    EVENT_RECORD* record, ULONG, TDH_CONTEXT*, ULONG count, PROPERTY_DATA_DESCRIPTOR* wanted, ULONG* size)
{
    const std::uint8_t* value = nullptr;
    std::size_t found = 0;
    const ULONG error =
        size == nullptr ? ERROR_INVALID_PARAMETER : FindProperty(record, count, wanted, value, found);
    if (error == ERROR_SUCCESS) {
        *size = static_cast<ULONG>(found);
    }
    return error;
}

ULONG WINAPI GetProperty(
    EVENT_RECORD* record, ULONG, TDH_CONTEXT*, ULONG count, PROPERTY_DATA_DESCRIPTOR* wanted, ULONG room,
    BYTE* buffer)
{
    const std::uint8_t* value = nullptr;
    std::size_t size = 0;
    if (const ULONG error = FindProperty(record, count, wanted, value, size)) {
        return error;
    }
    return Give({value, value + size}, buffer, &room);
}

} // namespace simetw
