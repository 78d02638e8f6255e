// An event as it stands in a buffer.
#pragma once

#include "Buffer.h"

namespace simetw {

// Of the kernel's own event classes: the flag that enables it in a system logger. 0 for any other provider.
std::uint32_t KernelFlagOf(const GUID& provider);

// Without the padding behind it.
std::size_t RecordSize(const SimEvent& event);
// The time is one of the session's clock.
void WriteRecord(std::uint8_t* at, const SimEvent& event, const std::uint8_t* payload, std::int64_t time);

// RT_LostEvent: that an event was lost, or a buffer.
Bytes LossRecord(bool event, std::int64_t time);

} // namespace simetw
