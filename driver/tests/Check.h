// What the test programs share.
#pragma once

#include <cstdio>
#include <cstdlib>

#include <ntifs.h>
#include "KDetectorPublic.h"
#include "SimKernel.h"

// Not assert: it must hold in every build. Ends at once, for other threads may still be at work.
#define CHECK(Condition)                                                                                     \
    do {                                                                                                     \
        if (!(Condition)) {                                                                                  \
            std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #Condition);                   \
            std::_Exit(1);                                                                                   \
        }                                                                                                    \
    } while (false)

inline KD_STATISTICS QueryStatistics(std::uint32_t handle)
{
    KD_STATISTICS statistics{};
    std::uint32_t returned = 0;
    CHECK(
        sim_ioctl(handle, IOCTL_KD_STATISTICS, &statistics, sizeof(statistics), &returned) == STATUS_SUCCESS);
    CHECK(returned == sizeof(statistics));
    return statistics;
}

// The two sums that KDetectorPublic.h promises.
inline void CheckSums(const KD_STATISTICS& s)
{
    CHECK(s.ThreadsSeen == s.FirstThreads + s.OwnThreads + s.ExcludedThreads + s.Reported);
    CHECK(s.Reported == s.Dropped + s.Queued + s.Delivered);
    CHECK(s.TableSize <= s.TableBound);
    CHECK(s.Queued <= s.QueueBound);
}
