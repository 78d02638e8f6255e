#include "SimKernel.h"
#include "Simulation.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <mutex>

namespace {

std::atomic<std::uint32_t> g_mask = 0;
std::mutex g_mutex;
std::string g_output;

} // namespace

extern "C" ULONG DbgPrintEx(ULONG component, ULONG level, PCSTR format, ...)
{
    // The system's own rule: a level below 32 is the number of a bit, and the component's mask decides.
    const ULONG bits = level < 32 ? 1U << level : level;
    if (component != DPFLTR_IHVDRIVER_ID || (bits & g_mask) == 0) {
        return 0;
    }
    char line[512];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    const std::lock_guard guard(g_mutex);
    g_output += line;
    return 0;
}

extern "C" void sim_set_debug_mask(std::uint32_t mask)
{
    g_mask = mask;
}

extern "C" std::size_t sim_take_debug_output(char* buffer, std::size_t size)
{
    const std::lock_guard guard(g_mutex);
    const std::size_t taken = g_output.copy(buffer, size);
    g_output.erase(0, taken);
    return taken;
}
