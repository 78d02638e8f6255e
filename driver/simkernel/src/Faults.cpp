// Failures on demand.
#include "SimKernel.h"
#include "Simulation.h"

#include <atomic>
#include <mutex>

namespace {

// Counts calls, and picks the one, or each of those, that shall fail.
class Trigger final {
public:
    void Arm(std::uint32_t nth, bool again)
    {
        m_calls = 0;
        m_again = again;
        m_nth = nth;
    }

    bool Fires()
    {
        const std::uint32_t nth = m_nth;
        if (nth == 0) {
            return false;
        }
        const std::uint32_t call = ++m_calls;
        return m_again ? call % nth == 0 : call == nth;
    }

private:
    std::atomic<std::uint32_t> m_nth = 0;
    std::atomic<std::uint32_t> m_calls = 0;
    std::atomic<bool> m_again = false;
};

Trigger g_calls;
Trigger g_allocations;
std::mutex g_failedMutex;
std::string g_failed;

bool Fire(Trigger& trigger, const char* routine)
{
    if (!trigger.Fires()) {
        return false;
    }
    const std::lock_guard guard(g_failedMutex);
    g_failed = routine;
    return true;
}

} // namespace

bool sim::Fails(const char* routine)
{
    return Fire(g_calls, routine);
}

bool sim::AllocationFails(const char* routine)
{
    // Both count the call, whichever fires.
    const bool asCall = Fire(g_calls, routine);
    const bool asAllocation = Fire(g_allocations, routine);
    return asCall || asAllocation;
}

extern "C" void sim_fail_call(std::uint32_t nth)
{
    const std::lock_guard guard(g_failedMutex);
    g_failed.clear();
    g_calls.Arm(nth, false);
}

extern "C" void sim_fail_allocation(std::uint32_t nth, int again)
{
    g_allocations.Arm(nth, again != 0);
}

extern "C" std::size_t sim_failed_routine(char* buffer, std::size_t size)
{
    const std::lock_guard guard(g_failedMutex);
    return g_failed.copy(buffer, size);
}
