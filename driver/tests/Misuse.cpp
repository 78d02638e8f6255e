// What the simulated kernel must not forgive: Misuse CASE. Each case ends in a bugcheck; without an argument
// the cases are listed with their stop codes.
#include "Check.h"
#include "Simulation.h"

#include <cstring>

namespace {

constexpr ULONG TAG = 0x31323334;

void OnProcess(PEPROCESS, HANDLE, PPS_CREATE_NOTIFY_INFO)
{
}
void OnThread(HANDLE, HANDLE, BOOLEAN)
{
}
void OnThreadRaisingIrql(HANDLE, HANDLE, BOOLEAN)
{
    static FAST_MUTEX mutex;
    ExInitializeFastMutex(&mutex);
    ExAcquireFastMutex(&mutex);
}
void OnThreadEnteringRegion(HANDLE, HANDLE, BOOLEAN)
{
    KeEnterCriticalRegion();
}

void LockAtDispatchLevel()
{
    FAST_MUTEX mutex;
    ExInitializeFastMutex(&mutex);
    const sim::Impersonation impersonation(4, 8, DISPATCH_LEVEL);
    ExAcquireFastMutex(&mutex);
}

void AcquireWithApcsEnabled()
{
    ERESOURCE resource{};
    static_cast<void>(ExInitializeResourceLite(&resource));
    ExAcquireResourceExclusiveLite(&resource, TRUE);
}

void ReleaseResourceNotHeld()
{
    ERESOURCE resource{};
    static_cast<void>(ExInitializeResourceLite(&resource));
    ExReleaseResourceLite(&resource);
}

void ReleaseMutexNotHeld()
{
    FAST_MUTEX mutex;
    ExInitializeFastMutex(&mutex);
    ExReleaseFastMutex(&mutex);
}

void UseResourceUninitialised()
{
    ERESOURCE resource{};
    ExEnterCriticalRegionAndAcquireResourceExclusive(&resource);
}

void LeaveRegionNotEntered()
{
    KeLeaveCriticalRegion();
}

void ReturnInRegion()
{
    static_cast<void>(PsSetCreateThreadNotifyRoutine(OnThreadEnteringRegion));
    sim_thread_created(4, 8, 12, 16, 0);
}

void ReturnAtHigherIrql()
{
    static_cast<void>(PsSetCreateThreadNotifyRoutine(OnThreadRaisingIrql));
    sim_thread_created(4, 8, 12, 16, 0);
}

void FreeTwice()
{
    void* const memory = ExAllocatePoolWithTag(NonPagedPoolNx, 8, TAG);
    ExFreePoolWithTag(memory, TAG);
    ExFreePoolWithTag(memory, TAG);
}

void FreeWithOtherTag()
{
    ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPoolNx, 8, TAG), TAG + 1);
}

void AllocateExecutable()
{
    ExAllocatePoolWithTag(NonPagedPool, 8, TAG);
}

void RegisterProcessTwice()
{
    static_cast<void>(PsSetCreateProcessNotifyRoutineEx(OnProcess, FALSE));
    static_cast<void>(PsSetCreateProcessNotifyRoutineEx(OnProcess, FALSE));
}

void RegisterThreadTwice()
{
    static_cast<void>(PsSetCreateThreadNotifyRoutine(OnThread));
    static_cast<void>(PsSetCreateThreadNotifyRoutine(OnThread));
}

void RemoveNotRegistered()
{
    PsRemoveCreateThreadNotifyRoutine(OnThread);
}

void LeavePoolBehind()
{
    CHECK(sim_load() == STATUS_SUCCESS);
    ExAllocatePoolWithTag(NonPagedPoolNx, 8, TAG);
    sim_unload();
}

void LinkToOpenDevice()
{
    DRIVER_OBJECT driver{};
    DEVICE_OBJECT* device = nullptr;
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, KD_DEVICE_NAME);
    static_cast<void>(
        IoCreateDevice(&driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &device));
    static_cast<void>(IoCreateSymbolicLink(&name, &name));
}

void MapNothing()
{
    MmGetSystemAddressForMdlSafe(nullptr, NormalPagePriority);
}

void CompleteTwice()
{
    IRP irp{};
    IoCompleteRequest(&irp, IO_NO_INCREMENT);
    IoCompleteRequest(&irp, IO_NO_INCREMENT);
}

struct Case {
    const char* Name;
    const char* StopCode;
    void (*Run)();
};

constexpr const char* VERIFIER = "DRIVER_VERIFIER_DETECTED_VIOLATION";
constexpr Case CASES[] = {
    {"lock-at-dispatch-level", "IRQL_NOT_LESS_OR_EQUAL", LockAtDispatchLevel},
    {"acquire-with-apcs-enabled", VERIFIER, AcquireWithApcsEnabled},
    {"release-resource-not-held", "RESOURCE_NOT_OWNED", ReleaseResourceNotHeld},
    {"release-mutex-not-held", "THREAD_NOT_MUTEX_OWNER", ReleaseMutexNotHeld},
    {"use-resource-uninitialised", VERIFIER, UseResourceUninitialised},
    {"leave-region-not-entered", "APC_INDEX_MISMATCH", LeaveRegionNotEntered},
    {"return-in-region", "APC_INDEX_MISMATCH", ReturnInRegion},
    {"return-at-higher-irql", "IRQL_UNEXPECTED_VALUE", ReturnAtHigherIrql},
    {"free-twice", "BAD_POOL_CALLER", FreeTwice},
    {"free-with-other-tag", "BAD_POOL_CALLER", FreeWithOtherTag},
    {"allocate-executable", VERIFIER, AllocateExecutable},
    {"register-process-twice", VERIFIER, RegisterProcessTwice},
    {"register-thread-twice", VERIFIER, RegisterThreadTwice},
    {"remove-not-registered", VERIFIER, RemoveNotRegistered},
    {"leave-pool-behind", VERIFIER, LeavePoolBehind},
    {"link-to-open-device", VERIFIER, LinkToOpenDevice},
    {"map-nothing", "SYSTEM_SERVICE_EXCEPTION", MapNothing},
    {"complete-twice", "MULTIPLE_IRP_COMPLETE_REQUESTS", CompleteTwice},
};

} // namespace

int main(int count, char** arguments)
{
    for (const Case& each : CASES) {
        if (count < 2) {
            std::printf("%s %s\n", each.Name, each.StopCode);
        } else if (std::strcmp(arguments[1], each.Name) == 0) {
            each.Run();
            std::fputs("the simulated kernel let it pass\n", stderr);
            return 1;
        }
    }
    return count < 2 ? 0 : 2;
}
