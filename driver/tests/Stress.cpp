// Everything at once, for the thread sanitizer: Stress [NOTIFICATIONS]
//   races    four creators make a thread in the same new process at the same moment: one of them is first
//   storm    four creators, two threads of exiting processes, two readers of one handle, one who asks for the
//            statistics: every record is read once or counted as dropped, and the counters add up
//   unloads  the driver comes and goes while the creators go on
#include "Check.h"

#include <array>
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

namespace {

constexpr std::uint32_t CREATORS = 4;
constexpr std::uint32_t EXITERS = 2;
constexpr std::uint32_t READERS = 2;
// One set of processes for all, so that they meet; and so many that the table cannot hold those that wait.
constexpr std::uint32_t PROCESSES = 512;
constexpr std::uint32_t TABLE_BOUND = 64;
constexpr std::uint32_t QUEUE_BOUND = 1024;

std::uint32_t ProcessId(std::uint32_t index)
{
    return 1000 + 4 * index;
}

std::uint32_t CreatorId(std::uint32_t index)
{
    return 100'000 + 4 * index;
}

// A small generator of our own: each thread has one, and a run can be repeated.
class Random final {
public:
    explicit Random(std::uint64_t seed) : m_state(seed * 0x9E3779B97F4A7C15 + 1) {}

    std::uint32_t Below(std::uint32_t bound)
    {
        m_state ^= m_state << 13;
        m_state ^= m_state >> 7;
        m_state ^= m_state << 17;
        return static_cast<std::uint32_t>((m_state >> 32) % bound);
    }

private:
    std::uint64_t m_state;
};

std::uint32_t Open(std::uint32_t access)
{
    std::uint32_t handle = 0;
    CHECK(sim_open(access, &handle) == STATUS_SUCCESS);
    return handle;
}

void Races(std::uint32_t rounds)
{
    CHECK(sim_load() == STATUS_SUCCESS);
    const std::uint32_t handle = Open(0);
    std::barrier start(CREATORS);
    const auto create = [&](std::uint32_t index) {
        for (std::uint32_t round = 0; round < rounds; ++round) {
            const std::uint32_t pid = ProcessId(round % PROCESSES);
            if (index == 0) {
                sim_process_created(CreatorId(0), 1, pid, SIM_KEEP_TIME);
            }
            start.arrive_and_wait();
            sim_thread_created(CreatorId(index), 1, pid, index, SIM_KEEP_TIME);
            start.arrive_and_wait();
        }
    };
    std::vector<std::jthread> threads;
    for (std::uint32_t index = 0; index < CREATORS; ++index) {
        threads.emplace_back(create, index);
    }
    threads.clear();

    const KD_STATISTICS statistics = QueryStatistics(handle);
    CheckSums(statistics);
    CHECK(statistics.ThreadsSeen == std::uint64_t{CREATORS} * rounds);
    CHECK(statistics.FirstThreads == rounds);
    CHECK(statistics.TableSize == 0);
    CHECK(sim_close(handle) == STATUS_SUCCESS);
    CHECK(sim_unload() == STATUS_SUCCESS);
    std::printf("races: %u rounds, %u first threads\n", rounds, rounds);
}

// What a creator did, to compare with what the driver counted.
struct Done {
    std::uint64_t Own = 0;
    std::uint64_t Excluded = 0;
    std::uint64_t Others = 0;
};

void Create(std::uint32_t index, std::uint32_t notifications, Done& done)
{
    Random random(index + 1);
    std::uint32_t nextTid = 1; // unique with the creator, and so the name of a record
    for (std::uint32_t count = 0; count < notifications; ++count) {
        const std::uint32_t pid = ProcessId(random.Below(PROCESSES));
        switch (random.Below(8)) {
        case 0:
        case 1:
            sim_process_created(CreatorId(index), 1, pid, SIM_KEEP_TIME);
            break;
        case 2:
            sim_thread_created(pid, 1, pid, 1, SIM_KEEP_TIME);
            ++done.Own;
            break;
        case 3:
            sim_thread_created(4, 1, pid, 1, SIM_KEEP_TIME);
            ++done.Excluded;
            break;
        default:
            sim_thread_created(CreatorId(index), index, pid, nextTid++, SIM_KEEP_TIME);
            ++done.Others;
            break;
        }
    }
}

void Exit(std::uint32_t index, std::uint32_t notifications)
{
    Random random(100 + index);
    for (std::uint32_t count = 0; count < notifications; ++count) {
        sim_process_exited(ProcessId(random.Below(PROCESSES)), 1, SIM_KEEP_TIME);
    }
}

// For each creator one flag a thread it made, set when its record is read.
using Seen = std::array<std::vector<std::atomic<bool>>, CREATORS>;

std::uint64_t
ReadOnce(std::uint32_t handle, std::vector<KD_REMOTE_THREAD>& buffer, Seen& seen, std::int64_t& lastTime)
{
    std::uint32_t returned = 0;
    const auto size = static_cast<std::uint32_t>(buffer.size() * sizeof(KD_REMOTE_THREAD));
    CHECK(sim_read(handle, buffer.data(), size, &returned) == STATUS_SUCCESS);
    CHECK(returned % sizeof(KD_REMOTE_THREAD) == 0);
    const std::uint64_t count = returned / sizeof(KD_REMOTE_THREAD);
    for (std::uint64_t index = 0; index < count; ++index) {
        const KD_REMOTE_THREAD record = buffer[index];
        // The clock ticks whenever it is read, so oldest first means strictly rising times.
        CHECK(record.Time > lastTime);
        lastTime = record.Time;
        CHECK(record.CreatorThreadId < CREATORS);
        CHECK(record.CreatorProcessId == CreatorId(record.CreatorThreadId));
        CHECK(!seen[record.CreatorThreadId].at(record.ThreadId).exchange(true));
    }
    return count;
}

void Storm(std::uint32_t notifications)
{
    sim_set_registry_dword("TableBound", TABLE_BOUND);
    sim_set_registry_dword("QueueBound", QUEUE_BOUND);
    sim_set_clock_step(1);
    CHECK(sim_load() == STATUS_SUCCESS);
    const std::uint32_t reading = Open(FILE_READ_DATA);
    const std::uint32_t asking = Open(0);

    const std::uint32_t each = notifications / (CREATORS + EXITERS);
    Seen seen;
    for (auto& flags : seen) {
        flags = std::vector<std::atomic<bool>>(each + 1);
    }
    std::atomic<bool> over = false;
    std::atomic<std::uint64_t> read = 0;
    std::array<Done, CREATORS> done;

    std::vector<std::jthread> watchers;
    for (std::uint32_t index = 0; index < READERS; ++index) {
        watchers.emplace_back([&, index] {
            Random random(200 + index);
            std::int64_t lastTime = -1;
            while (!over) {
                std::vector<KD_REMOTE_THREAD> buffer(1 + random.Below(300));
                read += ReadOnce(reading, buffer, seen, lastTime);
            }
        });
    }
    watchers.emplace_back([&] {
        while (!over) {
            CheckSums(QueryStatistics(asking));
            std::this_thread::yield();
        }
    });
    std::vector<std::jthread> makers;
    for (std::uint32_t index = 0; index < CREATORS; ++index) {
        makers.emplace_back(Create, index, each, std::ref(done[index]));
    }
    for (std::uint32_t index = 0; index < EXITERS; ++index) {
        makers.emplace_back(Exit, index, each);
    }
    makers.clear();
    over = true;
    watchers.clear();

    std::int64_t lastTime = -1;
    std::vector<KD_REMOTE_THREAD> buffer(QUEUE_BOUND);
    read += ReadOnce(reading, buffer, seen, lastTime);

    Done all;
    for (const Done& one : done) {
        all.Own += one.Own;
        all.Excluded += one.Excluded;
        all.Others += one.Others;
    }
    const KD_STATISTICS statistics = QueryStatistics(asking);
    CheckSums(statistics);
    CHECK(statistics.OwnThreads == all.Own);
    CHECK(statistics.ExcludedThreads == all.Excluded);
    CHECK(statistics.FirstThreads + statistics.Reported == all.Others);
    CHECK(statistics.Queued == 0);
    CHECK(statistics.Delivered == read);
    CHECK(statistics.AllocationFailures == 0);
    std::uint64_t distinct = 0;
    for (const auto& flags : seen) {
        for (const auto& flag : flags) {
            distinct += flag;
        }
    }
    CHECK(distinct == read);

    CHECK(sim_close(reading) == STATUS_SUCCESS);
    CHECK(sim_close(asking) == STATUS_SUCCESS);
    CHECK(sim_unload() == STATUS_SUCCESS);
    std::printf(
        "storm: %u notifications, %llu threads, %llu first, %llu remote = %llu read + %llu dropped, %llu "
        "evictions\n",
        each * (CREATORS + EXITERS),
        static_cast<unsigned long long>(statistics.ThreadsSeen),
        static_cast<unsigned long long>(statistics.FirstThreads),
        static_cast<unsigned long long>(statistics.Reported),
        static_cast<unsigned long long>(statistics.Delivered),
        static_cast<unsigned long long>(statistics.Dropped),
        static_cast<unsigned long long>(statistics.Evictions));
}

void Unloads(std::uint32_t rounds)
{
    std::atomic<bool> over = false;
    std::vector<std::jthread> makers;
    for (std::uint32_t index = 0; index < CREATORS; ++index) {
        makers.emplace_back([&, index] {
            while (!over) {
                Done done;
                Create(index, 100, done);
                // The waits for a notification's end give way to calls of it, so leave them a moment.
                std::this_thread::yield();
            }
        });
    }
    for (std::uint32_t round = 0; round < rounds; ++round) {
        CHECK(sim_load() == STATUS_SUCCESS);
        std::this_thread::yield();
        CHECK(sim_unload() == STATUS_SUCCESS);
    }
    over = true;
    makers.clear();
    std::printf("unloads: %u rounds\n", rounds);
}

} // namespace

int main(int count, char** arguments)
{
    const auto notifications =
        static_cast<std::uint32_t>(count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 600'000);
    Races(notifications / 100);
    Storm(notifications);
    Unloads(50);
    return 0;
}
