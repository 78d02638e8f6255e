#include "SimKernel.h"
#include "Simulation.h"

#include <atomic>

namespace {

std::atomic<std::int64_t> g_time = 0;
std::atomic<std::int64_t> g_step = 0;

} // namespace

extern "C" {

KIRQL KeGetCurrentIrql()
{
    return sim::CurrentThread().Irql;
}

void KeEnterCriticalRegion()
{
    sim::RequireIrql("KeEnterCriticalRegion", APC_LEVEL);
    ++sim::CurrentThread().CriticalRegions;
}

void KeLeaveCriticalRegion()
{
    sim::RequireIrql("KeLeaveCriticalRegion", APC_LEVEL);
    if (--sim::CurrentThread().CriticalRegions < 0) {
        sim::Bugcheck("APC_INDEX_MISMATCH", "KeLeaveCriticalRegion outside a critical region");
    }
}

BOOLEAN KeAreApcsDisabled()
{
    return sim::CurrentThread().CriticalRegions != 0;
}

void KeQuerySystemTimePrecise(LARGE_INTEGER* time)
{
    const std::int64_t step = g_step.load(std::memory_order_relaxed);
    time->QuadPart = g_time.fetch_add(step, std::memory_order_relaxed);
}

void sim_set_time(std::int64_t time)
{
    g_time.store(time, std::memory_order_relaxed);
}

void sim_set_clock_step(std::int64_t step)
{
    g_step.store(step, std::memory_order_relaxed);
}

} // extern "C"
