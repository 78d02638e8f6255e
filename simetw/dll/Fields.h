// The fields of the events that tdh decodes here.
#pragma once

#include <string>
#include <vector>

#include "Api.h"
#include "Pipe.h"

namespace simetw {

// TDH_INTYPE_… and TDH_OUTTYPE_…, which mingw-w64 lacks.
enum InType : USHORT {
    InText = 1,
    InNarrowText = 2,
    InUInt8 = 4,
    InUInt16 = 6,
    InUInt32 = 8,
    InUInt64 = 10,
    InPointer = 16,
    InFiletime = 17,
    InSid = 19,
    InWbemSid = 310, // 4 bytes 0 for none, or TOKEN_USER and the SID
};

struct Field {
    std::wstring Name;
    InType Type;
    USHORT OutType;
};

struct EventFields {
    std::wstring Provider;
    std::wstring Task;
    DECODING_SOURCE Source;
    std::vector<Field> Fields;
};

// The fields of an event; null where they are not known.
const EventFields* FieldsOf(const EVENT_HEADER& header);

// The bytes of a field's value at the start of the data; 0 where the data ends before it does.
std::size_t SizeOfValue(InType type, std::size_t pointerSize, const std::uint8_t* data, std::size_t size);

// The value as text.
std::wstring TextOfValue(InType type, const std::uint8_t* data, std::size_t size);

} // namespace simetw
