#include "Record.h"

#include <evntcons.h>

namespace simetw {

namespace {

constexpr std::uint16_t ProcessHooks = 0x0300;
constexpr std::uint16_t ThreadHooks = 0x0500;
constexpr std::uint16_t ImageHooks = 0x1400;
constexpr std::uint8_t ImageLoad = 10;
constexpr std::uint8_t KernelProcessChannel = 0x10;

struct KernelClass {
    const GUID& Class;
    std::uint32_t Flag;
    std::uint16_t Hooks;
};

constexpr KernelClass KernelClasses[] = {
    {ProcessClass, EVENT_TRACE_FLAG_PROCESS, ProcessHooks},
    {ThreadClass, EVENT_TRACE_FLAG_THREAD, ThreadHooks},
    {ImageClass, EVENT_TRACE_FLAG_IMAGE_LOAD, ImageHooks},
};

const KernelClass* KernelClassOf(const GUID& provider)
{
    for (const KernelClass& each : KernelClasses) {
        if (IsEqualGUID(each.Class, provider)) {
            return &each;
        }
    }
    return nullptr;
}

void WriteSystemRecord(
    std::uint8_t* at, const SimEvent& event, std::uint16_t hook, std::int64_t time, std::size_t size)
{
    SystemHeader header{};
    header.Version = event.Version;
    header.HeaderType = event.PointerSize == 4 ? SystemType32 : SystemType64;
    header.MarkerFlags = RecordMarker;
    header.Size = static_cast<std::uint16_t>(size);
    header.HookId = hook;
    header.ThreadId = event.ThreadId;
    header.ProcessId = event.ProcessId;
    header.TimeStamp = time;
    std::memcpy(at, &header, sizeof header);
}

void WriteEventRecord(std::uint8_t* at, const SimEvent& event, std::int64_t time, std::size_t size)
{
    const bool is32 = event.PointerSize == 4;
    EVENT_HEADER header{};
    header.Size = static_cast<std::uint16_t>(size);
    header.HeaderType = static_cast<std::uint16_t>((is32 ? EventType32 : EventType64) | RecordMarker << 8);
    header.Flags = is32 ? EVENT_HEADER_FLAG_32_BIT_HEADER : EVENT_HEADER_FLAG_64_BIT_HEADER;
    header.Flags |= event.ExtendedSize == 0 ? 0 : EVENT_HEADER_FLAG_EXTENDED_INFO;
    header.ThreadId = event.ThreadId;
    header.ProcessId = event.ProcessId;
    header.TimeStamp.QuadPart = time;
    header.ProviderId = event.Provider;
    header.EventDescriptor.Id = event.Id;
    header.EventDescriptor.Version = event.Version;
    header.EventDescriptor.Channel = KernelProcessChannel;
    header.EventDescriptor.Level = event.Level;
    header.EventDescriptor.Opcode = event.Opcode;
    header.EventDescriptor.Task = event.Task;
    header.EventDescriptor.Keyword = event.Keyword;
    std::memcpy(at, &header, sizeof header);
}

} // namespace

std::uint32_t KernelFlagOf(const GUID& provider)
{
    const KernelClass* const kernel = KernelClassOf(provider);
    return kernel == nullptr ? 0 : kernel->Flag;
}

std::size_t RecordSize(const SimEvent& event)
{
    const bool ofKernel = KernelClassOf(event.Provider) != nullptr;
    return (ofKernel ? sizeof(SystemHeader) : sizeof(EVENT_HEADER)) + event.PayloadSize;
}

void WriteRecord(std::uint8_t* at, const SimEvent& event, const std::uint8_t* payload, std::int64_t time)
{
    const std::size_t size = RecordSize(event);
    if (const KernelClass* const kernel = KernelClassOf(event.Provider)) {
        const bool load = kernel->Hooks == ImageHooks && event.Opcode == ImageLoad;
        const auto hook = load ? ImageLoadHook : static_cast<std::uint16_t>(kernel->Hooks | event.Opcode);
        WriteSystemRecord(at, event, hook, time, size);
    } else {
        WriteEventRecord(at, event, time, size);
    }
    std::memcpy(at + size - event.PayloadSize, payload, event.PayloadSize);
}

Bytes LossRecord(bool ofEvent, std::int64_t time)
{
    SimEvent event{};
    event.PointerSize = 8;
    event.ProcessId = event.ThreadId = ~0u;
    Bytes record(sizeof(SystemHeader));
    WriteSystemRecord(record.data(), event, ofEvent ? LostEventHook : LostBufferHook, time, record.size());
    return record;
}

} // namespace simetw
