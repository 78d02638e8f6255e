// What an administrator can set, from the service's registry key.
#pragma once

#include "Kernel.h"
#include "KDetectorPublic.h"

struct Settings {
    ULONG TableBound = KD_DEFAULT_TABLE_BOUND;
    ULONG QueueBound = KD_DEFAULT_QUEUE_BOUND;

    // Never fails: a detector with default bounds is better than none.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    static Settings Read(UNICODE_STRING* serviceKey);
};
