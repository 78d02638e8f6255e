// Memory that runs out and steps that fail, for the address sanitizer. What the driver leaves behind, the
// simulated kernel stops at.
#include "Check.h"

#include <string>
#include <vector>

namespace {

void Work()
{
    for (std::uint32_t pid = 1000; pid < 1400; pid += 4) {
        sim_process_created(600, 604, pid, pid);
        sim_thread_created(600, 604, pid, pid + 1, pid);
        sim_thread_created(pid, pid + 1, pid, pid + 2, pid);
        sim_thread_created(700, 704, pid, pid + 3, pid);
        if (pid % 8 == 0) {
            sim_process_exited(pid, pid + 1, pid);
        }
    }
}

// A new process, then a thread made in it by another one: remote when there was no memory for the process.
void RunWithFailingAllocations(std::uint32_t nth, bool again)
{
    sim_fail_allocation(nth, again);
    const std::int32_t status = sim_load();
    if (!NT_SUCCESS(status)) {
        CHECK(status == STATUS_INSUFFICIENT_RESOURCES);
        CHECK(!sim_is_loaded());
        return;
    }
    std::uint32_t handle = 0;
    CHECK(sim_open(FILE_READ_DATA, &handle) == STATUS_SUCCESS);
    Work();
    std::vector<KD_REMOTE_THREAD> records(50);
    std::uint32_t returned = 0;
    const auto size = static_cast<std::uint32_t>(records.size() * sizeof(KD_REMOTE_THREAD));
    CHECK(sim_read(handle, records.data(), size, &returned) == STATUS_SUCCESS);
    const KD_STATISTICS statistics = QueryStatistics(handle);
    CheckSums(statistics);
    CHECK(statistics.ThreadsSeen == 300);
    CHECK(statistics.OwnThreads == 100);
    CHECK(statistics.AllocationFailures > 0 || !again);
    // Each process that could not be stored made its first thread a remote one; each record lost was counted.
    CHECK(statistics.AllocationFailures == (100 - statistics.FirstThreads) + statistics.Dropped);
    CHECK(sim_close(handle) == STATUS_SUCCESS);
    // With records left in the queue.
    CHECK(sim_unload() == STATUS_SUCCESS);
}

// Whether there was a step to fail.
bool FailStep(std::uint32_t nth)
{
    sim_fail_call(nth);
    const std::int32_t status = sim_load();
    char buffer[64];
    const std::string routine(buffer, sim_failed_routine(buffer, sizeof(buffer)));
    if (NT_SUCCESS(status)) {
        // The settings have defaults; nothing else is dispensable.
        CHECK(routine.empty() || routine == "ZwOpenKey" || routine == "ZwQueryValueKey");
        Work();
        CHECK(sim_unload() == STATUS_SUCCESS);
    }
    if (routine.empty()) {
        return false;
    }
    std::printf("step %2u fails: %-34s load: %08X\n", nth, routine.c_str(), static_cast<unsigned>(status));
    // Nothing of it hinders the next try.
    sim_fail_call(0);
    CHECK(sim_load() == STATUS_SUCCESS);
    CHECK(sim_unload() == STATUS_SUCCESS);
    return true;
}

} // namespace

int main()
{
    sim_set_registry_dword("TableBound", 1000);
    for (std::uint32_t nth = 1; nth <= 50; ++nth) {
        RunWithFailingAllocations(nth, true);
        RunWithFailingAllocations(nth, false);
    }
    sim_fail_allocation(0, false);
    std::puts("allocations: every nth and the nth alone, n = 1 to 50");

    std::uint32_t steps = 0;
    while (FailStep(steps + 1)) {
        ++steps;
    }
    CHECK(steps > 10);
    std::printf("steps: %u\n", steps);
    return 0;
}
