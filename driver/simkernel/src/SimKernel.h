// The simulated kernel for test programs and, through ctypes, for Python. One kernel and one driver to a
// process. NTSTATUS values are returned as they are. All may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#define SIM_SERVICE_KEY u"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\kdetector"

enum SimEventKind : std::uint32_t {
    SIM_PROCESS_CREATED = 0,
    SIM_PROCESS_EXITED = 1,
    SIM_THREAD_CREATED = 2,
    SIM_THREAD_EXITED = 3,
};

// The time of an event that leaves the clock alone.
constexpr std::int64_t SIM_KEEP_TIME = -1;

// 32 bytes, Python's "<q6I". The clock is set to its time first. The creator is whose thread makes the
// process or the thread; for an exit it is the thread that exits.
struct SimEvent {
    std::int64_t Time;
    std::uint32_t Kind;
    std::uint32_t CreatorPid;
    std::uint32_t CreatorTid;
    std::uint32_t Pid;
    std::uint32_t Tid;
    std::uint32_t Reserved;
};
static_assert(sizeof(SimEvent) == 32);

extern "C" {
// The driver. Unloading answers STATUS_PENDING while a handle is open, and happens when the last one is
// closed.
std::int32_t sim_load();
std::int32_t sim_unload();
int sim_is_loaded();

// What happens in the system.
void sim_process_created(
    std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, std::int64_t time);
void sim_process_exited(std::uint32_t pid, std::uint32_t tid, std::int64_t time);
void sim_thread_created(
    std::uint32_t creatorPid,
    std::uint32_t creatorTid,
    std::uint32_t pid,
    std::uint32_t tid,
    std::int64_t time);
void sim_thread_exited(std::uint32_t pid, std::uint32_t tid, std::int64_t time);
void sim_play(const SimEvent* events, std::size_t count);

// The clock, in units of 100 ns since 1601. The step is added each time it is read; it starts as 0.
void sim_set_time(std::int64_t time);
void sim_set_clock_step(std::int64_t step);

// Values of the service's Parameters key.
void sim_set_registry_dword(const char* name, std::uint32_t value);
void sim_set_registry_string(const char* name, const char* value);
void sim_clear_registry();

// The device, as a program has it.
std::int32_t sim_open(std::uint32_t access, std::uint32_t* handle);
std::int32_t sim_close(std::uint32_t handle);
std::int32_t sim_read(std::uint32_t handle, void* buffer, std::uint32_t length, std::uint32_t* returned);
std::int32_t sim_ioctl(
    std::uint32_t handle, std::uint32_t code, void* buffer, std::uint32_t length, std::uint32_t* returned);
std::size_t sim_device_security(char* buffer, std::size_t size);

// Failures, counted from this call on; 0 means none. A call is any that a driver must expect to fail, an
// allocation among them. With `again` every nth allocation fails, without it the nth alone.
void sim_fail_call(std::uint32_t nth);
void sim_fail_allocation(std::uint32_t nth, int again);
std::size_t sim_failed_routine(char* buffer, std::size_t size);

// How the system behaves. Busy: a process and its first thread are made in the moment a notification is
// registered.
void sim_set_busy(int busy);
void sim_set_thread_notification_irql(std::uint8_t irql);

// The calling thread: whether its requests come from kernel mode, and how many locks it ever acquired.
void sim_set_kernel_mode(int kernelMode);
std::uint64_t sim_lock_acquisitions();

// The lines for a kernel debugger, of the levels in the mask; it starts as 0.
void sim_set_debug_mask(std::uint32_t mask);
std::size_t sim_take_debug_output(char* buffer, std::size_t size);
}
