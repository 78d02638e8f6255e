// The rule: which new threads are remote.
#pragma once

#include "NewProcessTable.h"

class RemoteThreadRule final {
public:
    enum class Verdict : UCHAR { Own, Excluded, First, Remote };

    // How often each verdict was given. Remote ones are counted where they are queued.
    struct Counts {
        ULONG64 Own;
        ULONG64 Excluded;
        ULONG64 First;
    };

    explicit RemoteThreadRule(NewProcessTable& newProcesses) : m_newProcesses(newProcesses) {}
    RemoteThreadRule(const RemoteThreadRule&) = delete;
    RemoteThreadRule& operator=(const RemoteThreadRule&) = delete;

    // A thread of process `creatorId` made a thread in process `targetId`.
    _IRQL_requires_max_(APC_LEVEL)
    Verdict Judge(ULONG creatorId, ULONG targetId);

    Counts Count() const;

private:
    NewProcessTable& m_newProcesses;
    volatile LONG64 m_own = 0;
    volatile LONG64 m_excluded = 0;
    volatile LONG64 m_first = 0;
};
