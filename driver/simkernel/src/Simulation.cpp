#include "Simulation.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace sim {

Thread& CurrentThread()
{
    thread_local Thread thread;
    return thread;
}

Impersonation::Impersonation(std::uint32_t processId, std::uint32_t threadId, KIRQL irql)
    : m_before(CurrentThread()), m_irql(irql)
{
    Thread& thread = CurrentThread();
    thread.ProcessId = processId;
    thread.ThreadId = threadId;
    thread.Irql = irql;
}

Impersonation::~Impersonation()
{
    Thread& thread = CurrentThread();
    if (thread.Irql != m_irql) {
        Bugcheck(
            "IRQL_UNEXPECTED_VALUE", "the driver was called at %u and returned at %u", m_irql, thread.Irql);
    }
    if (thread.CriticalRegions != m_before.CriticalRegions) {
        Bugcheck(
            "APC_INDEX_MISMATCH",
            "the driver was called in %d critical regions and returned in %d",
            m_before.CriticalRegions,
            thread.CriticalRegions);
    }
    thread.ProcessId = m_before.ProcessId;
    thread.ThreadId = m_before.ThreadId;
    thread.Irql = m_before.Irql;
}

void Bugcheck(const char* stopCode, const char* format, ...)
{
    std::va_list arguments;
    va_start(arguments, format);
    std::fprintf(stderr, "*** STOP: %s: ", stopCode);
    std::vfprintf(stderr, format, arguments);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    va_end(arguments);
    std::abort();
}

void RequireIrql(const char* routine, KIRQL highest)
{
    const KIRQL irql = CurrentThread().Irql;
    if (irql > highest) {
        Bugcheck("IRQL_NOT_LESS_OR_EQUAL", "%s at IRQL %u, allowed up to %u", routine, irql, highest);
    }
}

} // namespace sim
