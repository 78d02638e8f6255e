// Pool and lookaside lists. Every block comes from the host's heap and goes back there at once, without a
// cache, so that the sanitizers see each use of a block that was freed.
#include "Simulation.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

struct LookasideState {
    std::size_t Size;
    ULONG Tag;
};

namespace {

struct Block {
    std::size_t Size;
    ULONG Tag;
};

// Sixty-four shards, so that busy threads seldom meet here: the lock would order what the driver left
// unordered.
struct Shard {
    std::mutex Mutex;
    std::unordered_map<void*, Block> Blocks;
};
std::array<Shard, 64> g_shards;

std::mutex g_listsMutex;
std::unordered_map<LookasideState*, LOOKASIDE_LIST_EX*> g_lists;

Shard& ShardOf(void* memory)
{
    return g_shards[(reinterpret_cast<std::uintptr_t>(memory) >> 5) % g_shards.size()];
}

void* Allocate(std::size_t size, ULONG tag)
{
    if (size == 0) {
        sim::Bugcheck("BAD_POOL_CALLER", "an allocation of zero bytes");
    }
    void* const memory = std::malloc(size);
    // Fresh pool memory is whatever it was before.
    std::memset(memory, 0xA5, size);
    Shard& shard = ShardOf(memory);
    const std::lock_guard guard(shard.Mutex);
    shard.Blocks[memory] = {size, tag};
    return memory;
}

void Free(void* memory, ULONG tag)
{
    Shard& shard = ShardOf(memory);
    {
        const std::lock_guard guard(shard.Mutex);
        const auto found = shard.Blocks.find(memory);
        if (found == shard.Blocks.end()) {
            sim::Bugcheck("BAD_POOL_CALLER", "%p is freed, but not allocated", memory);
        }
        if (found->second.Tag != tag) {
            sim::Bugcheck(
                "BAD_POOL_CALLER", "freed with tag %08X, allocated with %08X", tag, found->second.Tag);
        }
        std::memset(memory, 0x5A, found->second.Size);
        shard.Blocks.erase(found);
    }
    std::free(memory);
}

void RequireNotExecutable(POOL_TYPE type)
{
    if (type == NonPagedPool) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "executable pool");
    }
}

LookasideState& StateOf(LOOKASIDE_LIST_EX* list)
{
    if (list->State == nullptr) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "a lookaside list that is not initialised");
    }
    return *list->State;
}

} // namespace

extern "C" {

PVOID ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T size, ULONG tag)
{
    sim::RequireIrql("ExAllocatePoolWithTag", type == PagedPool ? APC_LEVEL : DISPATCH_LEVEL);
    RequireNotExecutable(type);
    return sim::AllocationFails("ExAllocatePoolWithTag") ? nullptr : Allocate(size, tag);
}

void ExFreePoolWithTag(PVOID memory, ULONG tag)
{
    sim::RequireIrql("ExFreePoolWithTag", DISPATCH_LEVEL);
    Free(memory, tag);
}

NTSTATUS ExInitializeLookasideListEx(
    LOOKASIDE_LIST_EX* list, PVOID, PVOID, POOL_TYPE type, ULONG, SIZE_T size, ULONG tag, USHORT)
{
    sim::RequireIrql("ExInitializeLookasideListEx", DISPATCH_LEVEL);
    RequireNotExecutable(type);
    if (sim::Fails("ExInitializeLookasideListEx")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    list->State = new LookasideState{size, tag};
    const std::lock_guard guard(g_listsMutex);
    g_lists[list->State] = list;
    return STATUS_SUCCESS;
}

void ExDeleteLookasideListEx(LOOKASIDE_LIST_EX* list)
{
    sim::RequireIrql("ExDeleteLookasideListEx", DISPATCH_LEVEL);
    LookasideState* const state = &StateOf(list);
    list->State = nullptr;
    const std::lock_guard guard(g_listsMutex);
    g_lists.erase(state);
    delete state;
}

PVOID ExAllocateFromLookasideListEx(LOOKASIDE_LIST_EX* list)
{
    sim::RequireIrql("ExAllocateFromLookasideListEx", DISPATCH_LEVEL);
    const LookasideState& state = StateOf(list);
    return sim::AllocationFails("ExAllocateFromLookasideListEx") ? nullptr : Allocate(state.Size, state.Tag);
}

void ExFreeToLookasideListEx(LOOKASIDE_LIST_EX* list, PVOID item)
{
    sim::RequireIrql("ExFreeToLookasideListEx", DISPATCH_LEVEL);
    Free(item, StateOf(list).Tag);
}

} // extern "C"

void sim::ReportPoolLeaks(std::string& report)
{
    std::size_t blocks = 0;
    std::size_t bytes = 0;
    for (Shard& shard : g_shards) {
        const std::lock_guard guard(shard.Mutex);
        blocks += shard.Blocks.size();
        for (const auto& [memory, block] : shard.Blocks) {
            bytes += block.Size;
        }
    }
    if (blocks != 0) {
        report += " " + std::to_string(blocks) + " pool blocks of " + std::to_string(bytes) + " bytes;";
    }
}

void sim::ReportLookasideLeaks(std::string& report)
{
    const std::lock_guard guard(g_listsMutex);
    if (!g_lists.empty()) {
        report += " " + std::to_string(g_lists.size()) + " lookaside lists;";
    }
}
