// What a notification costs, in nanoseconds, by what is in the table: Cost [NOTIFICATIONS]. One line a case:
// its name, the entries in the table, the time. The cost of the simulated kernel itself (case "none": a
// thread's exit, which the driver ignores) is contained in each.
#include "Check.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace {

constexpr std::uint32_t REPETITIONS = 7;

std::uint32_t WaitingProcess(std::uint32_t index)
{
    return 0x10000 + 4 * index;
}

// Like 0x10000 and up, but not among them.
constexpr std::uint32_t TARGET = 0x8000;
constexpr std::uint32_t OTHER = 0x4000;

SimEvent Thread(std::uint32_t creator, std::uint32_t target)
{
    return {0, SIM_THREAD_CREATED, creator, creator + 4, target, target + 4, 0};
}

// The fastest of some repetitions: whatever else the machine does can only add.
double Nanoseconds(const std::vector<SimEvent>& events)
{
    double best = 1e9;
    for (std::uint32_t repetition = 0; repetition < REPETITIONS; ++repetition) {
        const auto start = std::chrono::steady_clock::now();
        sim_play(events.data(), events.size());
        const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
        best = std::min(best, taken.count() / static_cast<double>(events.size()));
    }
    return best;
}

void Measure(std::uint32_t entries, std::uint32_t notifications)
{
    CHECK(sim_load() == STATUS_SUCCESS);
    for (std::uint32_t index = 0; index < entries; ++index) {
        sim_process_created(600, 604, WaitingProcess(index), 0);
    }
    const SimEvent exit = {0, SIM_THREAD_EXITED, TARGET, TARGET + 4, TARGET, TARGET + 4, 0};
    const SimEvent create = {0, SIM_PROCESS_CREATED, OTHER, OTHER + 4, TARGET, 0, 0};
    std::vector<SimEvent> first;
    for (std::uint32_t index = 0; index < notifications / 2; ++index) {
        first.push_back(create);
        first.push_back(Thread(OTHER, TARGET));
    }
    const auto print = [entries](const char* name, double nanoseconds) {
        std::printf("%s %u %.1f\n", name, entries, nanoseconds);
    };
    print("none", Nanoseconds(std::vector(notifications, exit)));
    print("own", Nanoseconds(std::vector(notifications, Thread(TARGET, TARGET))));
    // A first thread needs a new process each time: the time of both together, halved.
    print("first", Nanoseconds(first));
    // The queue fills in the first repetition; from then on a record drops the oldest, the costlier way.
    print("remote", Nanoseconds(std::vector(notifications, Thread(OTHER, TARGET))));

    std::uint32_t handle = 0;
    CHECK(sim_open(0, &handle) == STATUS_SUCCESS);
    const KD_STATISTICS statistics = QueryStatistics(handle);
    CHECK(statistics.TableSize == entries);
    CHECK(statistics.FirstThreads == std::uint64_t{REPETITIONS} * (notifications / 2));
    CHECK(statistics.OwnThreads == std::uint64_t{REPETITIONS} * notifications);
    CHECK(statistics.Reported == std::uint64_t{REPETITIONS} * notifications);
    CHECK(sim_close(handle) == STATUS_SUCCESS);
    CHECK(sim_unload() == STATUS_SUCCESS);
}

} // namespace

int main(int count, char** arguments)
{
    const auto notifications =
        static_cast<std::uint32_t>(count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 200'000);
    for (const std::uint32_t entries : {0U, 1000U, 16'000U}) {
        Measure(entries, notifications);
    }
    return 0;
}
