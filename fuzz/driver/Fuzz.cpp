// Fuzzes the driver's dispatch routines and the reading of its settings in the simulated kernel, with libFuzzer: any
// order of requests, events and failures, with any lengths. What the simulated kernel does not forgive ends it.
#include "Check.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t MOST_HANDLES = 4;
constexpr std::uint32_t MOST_LENGTH = 4096;

// Numbers out of the input; zeros behind its end.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : m_data(data), m_left(size) {}
    bool Empty() const { return m_left == 0; }

    template <typename T> T Take()
    {
        T value{};
        const std::size_t size = std::min(sizeof(value), m_left);
        std::memcpy(&value, m_data, size);
        m_data += size;
        m_left -= size;
        return value;
    }

    std::string Text()
    {
        std::string text;
        for (auto length = Take<std::uint8_t>() % 32; length > 0; --length) {
            text += static_cast<char>(1 + Take<std::uint8_t>() % 126);
        }
        return text;
    }

    // Small ids meet each other; others are any.
    std::uint32_t Id()
    {
        const auto kind = Take<std::uint8_t>();
        return kind < 250 ? kind % 16 * 4 : Take<std::uint32_t>();
    }

private:
    const std::uint8_t* m_data;
    std::size_t m_left;
};

void SetSettings(Input& input)
{
    static const char* const names[] = {"TableBound", "QueueBound", "Other"};
    const char* const name = names[input.Take<std::uint8_t>() % 3];
    if (input.Take<std::uint8_t>() % 2 == 0) {
        // Small bounds are met; large ones cost memory and time only.
        const bool small = input.Take<std::uint8_t>() % 4 != 0;
        sim_set_registry_dword(name, small ? input.Take<std::uint8_t>() : input.Take<std::uint32_t>());
    } else {
        sim_set_registry_string(name, input.Text().c_str());
    }
}

SimEvent TakeEvent(Input& input)
{
    SimEvent event{};
    event.Time = input.Take<std::uint8_t>() % 8 ? SIM_KEEP_TIME : input.Take<std::int64_t>();
    event.Kind = input.Take<std::uint8_t>() % 4;
    event.CreatorPid = input.Id();
    event.CreatorTid = input.Id();
    event.Pid = input.Id();
    event.Tid = input.Id();
    return event;
}

void Ask(Input& input, std::uint32_t handle)
{
    std::vector<std::uint8_t> buffer(input.Take<std::uint16_t>() % MOST_LENGTH);
    std::uint32_t returned = 0;
    const auto length = static_cast<std::uint32_t>(buffer.size());
    switch (input.Take<std::uint8_t>() % 4) {
    case 0: {
        const std::int32_t status = sim_read(handle, buffer.data(), length, &returned);
        CHECK(!NT_SUCCESS(status) || returned % sizeof(KD_REMOTE_THREAD) == 0);
        break;
    }
    case 1: sim_ioctl(handle, IOCTL_KD_VERSION, buffer.data(), length, &returned); break;
    case 2: sim_ioctl(handle, IOCTL_KD_STATISTICS, buffer.data(), length, &returned); break;
    default: sim_ioctl(handle, input.Take<std::uint32_t>(), buffer.data(), length, &returned); break;
    }
    CHECK(returned <= length);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    Input input(data, size);
    sim_clear_registry();
    sim_fail_call(0);
    sim_fail_allocation(0, 0);
    sim_set_busy(input.Take<std::uint8_t>() % 2);
    for (auto count = input.Take<std::uint8_t>() % 4; count > 0; --count) {
        SetSettings(input);
    }
    if (input.Take<std::uint8_t>() % 4 == 0) {
        sim_fail_call(input.Take<std::uint8_t>() % 32);
    }
    if (!NT_SUCCESS(sim_load())) {
        CHECK(!sim_is_loaded());
        return 0;
    }
    std::vector<std::uint32_t> handles;
    while (!input.Empty()) {
        const auto kind = input.Take<std::uint8_t>() % 8;
        if (kind == 0 && handles.size() < MOST_HANDLES) {
            std::uint32_t handle = 0;
            const bool reading = input.Take<std::uint8_t>() % 2 != 0;
            const std::uint32_t access = reading ? FILE_READ_DATA : input.Take<std::uint32_t>();
            if (NT_SUCCESS(sim_open(access, &handle))) {
                handles.push_back(handle);
            }
        } else if (kind == 1 && !handles.empty()) {
            CHECK(NT_SUCCESS(sim_close(handles.back())));
            handles.pop_back();
        } else if (kind == 2) {
            sim_fail_allocation(input.Take<std::uint8_t>() % 8, input.Take<std::uint8_t>() % 2);
        } else if (kind <= 4 && !handles.empty()) {
            Ask(input, handles[input.Take<std::uint8_t>() % handles.size()]);
            CheckSums(QueryStatistics(handles.front()));
        } else {
            const SimEvent event = TakeEvent(input);
            sim_play(&event, 1);
        }
    }
    for (const std::uint32_t handle : handles) {
        CHECK(NT_SUCCESS(sim_close(handle)));
    }
    // What the driver leaves behind, the simulated kernel stops at.
    CHECK(NT_SUCCESS(sim_unload()));
    return 0;
}
