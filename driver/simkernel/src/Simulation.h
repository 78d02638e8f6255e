// What the prefixes share: who runs, what may not happen, what is made to fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <ntifs.h>

namespace sim {

// The simulated side of a host thread.
struct Thread {
    std::uint32_t ProcessId = 4;
    std::uint32_t ThreadId = 8;
    KIRQL Irql = PASSIVE_LEVEL;
    int CriticalRegions = 0;
    KPROCESSOR_MODE PreviousMode = UserMode;
    std::uint64_t LockAcquisitions = 0;
};

Thread& CurrentThread();

// Runs as another thread, at another IRQL, for the time of a call into the driver. When it ends, IRQL and
// critical regions must be what they were.
class Impersonation final {
public:
    Impersonation(std::uint32_t processId, std::uint32_t threadId, KIRQL irql);
    ~Impersonation();
    Impersonation(const Impersonation&) = delete;
    Impersonation& operator=(const Impersonation&) = delete;

private:
    Thread m_before;
    KIRQL m_irql;
};

// Prints the stop code's name and what happened, and aborts.
[[noreturn]] __attribute__((format(printf, 2, 3))) void
Bugcheck(const char* stopCode, const char* format, ...);

// Bugchecks when the current IRQL is higher.
void RequireIrql(const char* routine, KIRQL highest);

// Whether this call is one that was asked to fail. Every routine that a driver must expect to fail calls it
// first.
bool Fails(const char* routine);
bool AllocationFails(const char* routine);

// Each adds a line for each thing that the driver left behind.
void ReportPoolLeaks(std::string& report);
void ReportLockLeaks(std::string& report);
void ReportLookasideLeaks(std::string& report);
void ReportDeviceLeaks(std::string& report);
void ReportHandleLeaks(std::string& report);
void ReportNotificationLeaks(std::string& report);

std::u16string ToString(const UNICODE_STRING& string);
std::string ToNarrow(const std::u16string& string);

// A notification of the simulated system, to whatever routine is registered.
void NotifyProcess(std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, bool created);
void NotifyThread(
    std::uint32_t creatorPid, std::uint32_t creatorTid, std::uint32_t pid, std::uint32_t tid, bool created);

// What ZwSetSecurityObject does for a device. The descriptor is copied as text, like
// "D:P(A;;0x1f01ff;;;S-1-5-18)".
void SetDeviceSecurity(DEVICE_OBJECT* device, const SECURITY_DESCRIPTOR& descriptor, bool isProtected);
bool IsDevice(const void* object);

} // namespace sim
