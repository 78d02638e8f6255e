// Resources and fast mutexes.
#include "Simulation.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <unordered_set>
#include <vector>

struct ResourceState {
    std::shared_mutex Mutex;
};

namespace {

constexpr ULONG64 FAST_MUTEX_SIGNATURE = 0x4B434F4C54534146;
static_assert(sizeof(std::mutex) <= sizeof(FAST_MUTEX::Mutex));

struct Holding {
    const ResourceState* Resource;
    bool Exclusive;
};
thread_local std::vector<Holding> t_holdings;

std::mutex g_resourcesMutex;
std::unordered_set<ResourceState*> g_resources;

ResourceState& StateOf(ERESOURCE* resource)
{
    if (resource->State == nullptr) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "a resource that is not initialised");
    }
    return *resource->State;
}

void Acquire(const char* routine, ERESOURCE* resource, bool exclusive)
{
    sim::RequireIrql(routine, APC_LEVEL);
    ResourceState& state = StateOf(resource);
    if (!KeAreApcsDisabled()) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "%s with normal kernel APCs enabled", routine);
    }
    const auto isSame = [&state](const Holding& holding) {
        return holding.Resource == &state;
    };
    if (std::any_of(t_holdings.begin(), t_holdings.end(), isSame)) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION", "%s by a thread that holds the resource", routine);
    }
    if (exclusive) {
        state.Mutex.lock();
    } else {
        state.Mutex.lock_shared();
    }
    t_holdings.push_back({&state, exclusive});
    ++sim::CurrentThread().LockAcquisitions;
}

void Release(const char* routine, ERESOURCE* resource)
{
    sim::RequireIrql(routine, DISPATCH_LEVEL);
    ResourceState& state = StateOf(resource);
    const auto isSame = [&state](const Holding& holding) {
        return holding.Resource == &state;
    };
    const auto found = std::find_if(t_holdings.begin(), t_holdings.end(), isSame);
    if (found == t_holdings.end()) {
        sim::Bugcheck("RESOURCE_NOT_OWNED", "%s by a thread that does not hold the resource", routine);
    }
    const bool exclusive = found->Exclusive;
    t_holdings.erase(found);
    if (exclusive) {
        state.Mutex.unlock();
    } else {
        state.Mutex.unlock_shared();
    }
}

std::mutex& HostMutex(FAST_MUTEX* mutex)
{
    if (mutex->Signature != FAST_MUTEX_SIGNATURE) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "a fast mutex that is not initialised");
    }
    return *std::launder(reinterpret_cast<std::mutex*>(mutex->Mutex));
}

// Read by threads that don't hold the mutex, to tell misuse.
void* OwnerOf(FAST_MUTEX* mutex)
{
    return __atomic_load_n(&mutex->Owner, __ATOMIC_RELAXED);
}

void SetOwner(FAST_MUTEX* mutex, void* owner)
{
    __atomic_store_n(&mutex->Owner, owner, __ATOMIC_RELAXED);
}

} // namespace

extern "C" {

NTSTATUS ExInitializeResourceLite(ERESOURCE* resource)
{
    sim::RequireIrql("ExInitializeResourceLite", DISPATCH_LEVEL);
    if (sim::Fails("ExInitializeResourceLite")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    resource->State = new ResourceState;
    const std::lock_guard guard(g_resourcesMutex);
    g_resources.insert(resource->State);
    return STATUS_SUCCESS;
}

NTSTATUS ExDeleteResourceLite(ERESOURCE* resource)
{
    sim::RequireIrql("ExDeleteResourceLite", DISPATCH_LEVEL);
    ResourceState* const state = &StateOf(resource);
    if (!state->Mutex.try_lock()) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION", "ExDeleteResourceLite of a resource that is held");
    }
    state->Mutex.unlock();
    resource->State = nullptr;
    const std::lock_guard guard(g_resourcesMutex);
    g_resources.erase(state);
    delete state;
    return STATUS_SUCCESS;
}

BOOLEAN ExAcquireResourceExclusiveLite(ERESOURCE* resource, BOOLEAN)
{
    Acquire("ExAcquireResourceExclusiveLite", resource, true);
    return TRUE;
}

BOOLEAN ExAcquireResourceSharedLite(ERESOURCE* resource, BOOLEAN)
{
    Acquire("ExAcquireResourceSharedLite", resource, false);
    return TRUE;
}

void ExReleaseResourceLite(ERESOURCE* resource)
{
    Release("ExReleaseResourceLite", resource);
}

PVOID ExEnterCriticalRegionAndAcquireResourceExclusive(ERESOURCE* resource)
{
    KeEnterCriticalRegion();
    Acquire("ExEnterCriticalRegionAndAcquireResourceExclusive", resource, true);
    return nullptr;
}

PVOID ExEnterCriticalRegionAndAcquireResourceShared(ERESOURCE* resource)
{
    KeEnterCriticalRegion();
    Acquire("ExEnterCriticalRegionAndAcquireResourceShared", resource, false);
    return nullptr;
}

void ExReleaseResourceAndLeaveCriticalRegion(ERESOURCE* resource)
{
    Release("ExReleaseResourceAndLeaveCriticalRegion", resource);
    KeLeaveCriticalRegion();
}

void ExInitializeFastMutex(FAST_MUTEX* mutex)
{
    sim::RequireIrql("ExInitializeFastMutex", DISPATCH_LEVEL);
    new (mutex->Mutex) std::mutex;
    mutex->Owner = nullptr;
    mutex->Signature = FAST_MUTEX_SIGNATURE;
}

void ExAcquireFastMutex(FAST_MUTEX* mutex)
{
    sim::RequireIrql("ExAcquireFastMutex", APC_LEVEL);
    std::mutex& host = HostMutex(mutex);
    sim::Thread& thread = sim::CurrentThread();
    if (OwnerOf(mutex) == &thread) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "ExAcquireFastMutex by the thread that holds it");
    }
    host.lock();
    SetOwner(mutex, &thread);
    mutex->OldIrql = thread.Irql;
    thread.Irql = APC_LEVEL;
    ++thread.LockAcquisitions;
}

void ExReleaseFastMutex(FAST_MUTEX* mutex)
{
    std::mutex& host = HostMutex(mutex);
    sim::Thread& thread = sim::CurrentThread();
    if (OwnerOf(mutex) != &thread) {
        sim::Bugcheck("THREAD_NOT_MUTEX_OWNER", "ExReleaseFastMutex by a thread that does not hold it");
    }
    if (thread.Irql != APC_LEVEL) {
        sim::Bugcheck("IRQL_UNEXPECTED_VALUE", "ExReleaseFastMutex at IRQL %u", thread.Irql);
    }
    const KIRQL irql = mutex->OldIrql;
    SetOwner(mutex, nullptr);
    host.unlock();
    thread.Irql = irql;
}

} // extern "C"

void sim::ReportLockLeaks(std::string& report)
{
    const std::lock_guard guard(g_resourcesMutex);
    if (!g_resources.empty()) {
        report += " " + std::to_string(g_resources.size()) + " resources;";
    }
}
