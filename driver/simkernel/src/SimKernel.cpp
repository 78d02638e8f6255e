#include "SimKernel.h"
#include "Simulation.h"

namespace {

void Play(const SimEvent& event)
{
    if (event.Time != SIM_KEEP_TIME) {
        sim_set_time(event.Time);
    }
    switch (event.Kind) {
    case SIM_PROCESS_CREATED:
    case SIM_PROCESS_EXITED:
        sim::NotifyProcess(event.CreatorPid, event.CreatorTid, event.Pid, event.Kind == SIM_PROCESS_CREATED);
        break;
    case SIM_THREAD_CREATED:
    case SIM_THREAD_EXITED:
        sim::NotifyThread(
            event.CreatorPid, event.CreatorTid, event.Pid, event.Tid, event.Kind == SIM_THREAD_CREATED);
        break;
    default:
        sim::Bugcheck("MANUALLY_INITIATED_CRASH", "an event of kind %u", event.Kind);
    }
}

} // namespace

extern "C" {

void sim_process_created(
    std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, std::int64_t time)
{
    Play({time, SIM_PROCESS_CREATED, creatorPid, creatorTid, pid, 0, 0});
}

void sim_process_exited(std::uint32_t pid, std::uint32_t tid, std::int64_t time)
{
    Play({time, SIM_PROCESS_EXITED, pid, tid, pid, tid, 0});
}

void sim_thread_created(
    std::uint32_t creatorPid,
    std::uint32_t creatorTid,
    std::uint32_t pid,
    std::uint32_t tid,
    std::int64_t time)
{
    Play({time, SIM_THREAD_CREATED, creatorPid, creatorTid, pid, tid, 0});
}

void sim_thread_exited(std::uint32_t pid, std::uint32_t tid, std::int64_t time)
{
    Play({time, SIM_THREAD_EXITED, pid, tid, pid, tid, 0});
}

void sim_play(const SimEvent* events, std::size_t count)
{
    for (std::size_t index = 0; index < count; ++index) {
        Play(events[index]);
    }
}

void sim_set_kernel_mode(int kernelMode)
{
    sim::CurrentThread().PreviousMode = static_cast<KPROCESSOR_MODE>(kernelMode != 0 ? KernelMode : UserMode);
}

std::uint64_t sim_lock_acquisitions()
{
    return sim::CurrentThread().LockAcquisitions;
}

} // extern "C"
