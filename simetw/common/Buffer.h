// A buffer as it stands in a file: its header, and records behind it.
#pragma once

#include "Pipe.h"

namespace simetw {

// WMI_BUFFER_HEADER, in the public symbols of ntoskrnl.
struct BufferHeader {
    std::uint32_t BufferSize;
    std::uint32_t SavedOffset;
    std::uint32_t CurrentOffset;
    std::uint32_t ReferenceCount;
    std::int64_t TimeStamp;
    std::int64_t SequenceNumber;
    std::uint64_t ClockType;
    std::uint16_t Cpu;
    std::uint16_t LoggerId;
    std::uint32_t State;
    std::uint32_t Filled;
    std::uint16_t Flags;
    std::uint16_t Type;
    std::uint8_t Reserved[16];
};
static_assert(sizeof(BufferHeader) == 0x48);

constexpr std::uint16_t BufferFlushed = 0x01;
constexpr std::uint16_t BufferEventsLost = 0x02;
constexpr std::uint16_t BufferBuffersLost = 0x04;
constexpr std::uint16_t BufferOfHeader = 4;

constexpr GUID KernelProcess = {0x22fb2cd6, 0x0e7b, 0x422b, {0xa0, 0xc7, 0x2f, 0xad, 0x1f, 0xd0, 0xe7, 0x16}};
constexpr GUID ProcessClass = {0x3d6fa8d0, 0xfe05, 0x11d0, {0x9d, 0xda, 0x00, 0xc0, 0x4f, 0xd7, 0xba, 0x7c}};
constexpr GUID ThreadClass = {0x3d6fa8d1, 0xfe05, 0x11d0, {0x9d, 0xda, 0x00, 0xc0, 0x4f, 0xd7, 0xba, 0x7c}};
constexpr GUID ImageClass = {0x2cb15d1d, 0x5fc1, 0x11d2, {0xab, 0xe1, 0x00, 0xa0, 0xc9, 0x11, 0xf5, 0x18}};
constexpr GUID LostEventClass = {
    0x6a399ae0, 0x4bc6, 0x4de9, {0x87, 0x0b, 0x36, 0x57, 0xf8, 0x94, 0x7e, 0x7e}};
constexpr GUID SystemTraceControl = {
    0x9e814aad, 0x3204, 0x11d2, {0x9a, 0x82, 0x00, 0x60, 0x08, 0xa8, 0x69, 0x39}};

// The first bytes of a record of the kernel's own, SYSTEM_TRACE_HEADER in those symbols. The class of its
// events is the upper byte of the hook id, the opcode the lower one.
struct SystemHeader {
    std::uint16_t Version;
    std::uint8_t HeaderType;
    std::uint8_t MarkerFlags;
    std::uint16_t Size;
    std::uint16_t HookId;
    std::uint32_t ThreadId;
    std::uint32_t ProcessId;
    std::int64_t TimeStamp;
    std::uint64_t ProcessorTime;
};
static_assert(sizeof(SystemHeader) == 32);

constexpr std::uint8_t SystemType32 = 0x01;
constexpr std::uint8_t SystemType64 = 0x02;
constexpr std::uint8_t EventType32 = 0x12;
constexpr std::uint8_t EventType64 = 0x13;
constexpr std::uint8_t RecordMarker = 0xC0;

// An image's load stands among the process hooks.
constexpr std::uint16_t ImageLoadHook = 0x030A;
// RT_LostEvent: an event was lost, a buffer.
constexpr std::uint16_t LostEventHook = 0x0020;
constexpr std::uint16_t LostBufferHook = 0x0021;

constexpr std::size_t Aligned(std::size_t size)
{
    return (size + 7) & ~std::size_t{7};
}

inline BufferHeader& HeaderOf(Bytes& buffer)
{
    return *reinterpret_cast<BufferHeader*>(buffer.data());
}

} // namespace simetw
