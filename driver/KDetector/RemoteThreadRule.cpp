#include "RemoteThreadRule.h"

namespace {

// The Idle and the System process have fixed ids, and the detector that reads event traces knows only ids.
constexpr ULONG IDLE_PROCESS_ID = 0;
constexpr ULONG SYSTEM_PROCESS_ID = 4;

bool IsExcluded(ULONG processId)
{
    return processId == IDLE_PROCESS_ID || processId == SYSTEM_PROCESS_ID;
}

} // namespace

_Use_decl_annotations_
RemoteThreadRule::Verdict RemoteThreadRule::Judge(ULONG creatorId, ULONG targetId)
{
    // Whoever makes a process's first thread, the process is new no longer. A taken entry is what makes a
    // thread the first one, so of two that race for it the other is judged as if it had come later.
    const bool wasNew = m_newProcesses.Take(targetId);
    if (creatorId == targetId) {
        InterlockedIncrement64(&m_own);
        return Verdict::Own;
    }
    if (IsExcluded(creatorId) || IsExcluded(targetId)) {
        InterlockedIncrement64(&m_excluded);
        return Verdict::Excluded;
    }
    if (wasNew) {
        InterlockedIncrement64(&m_first);
        return Verdict::First;
    }
    return Verdict::Remote;
}

RemoteThreadRule::Counts RemoteThreadRule::Count() const
{
    return {
        static_cast<ULONG64>(ReadNoFence64(&m_own)),
        static_cast<ULONG64>(ReadNoFence64(&m_excluded)),
        static_cast<ULONG64>(ReadNoFence64(&m_first))};
}
