// The notify routines that KDetector registers. Wine's own registration does nothing; here they are kept, and
// called when a test says so.
#pragma once

#include <ntifs.h>

#include "KDetectorWine.h"

// Finds the routines of Wine that have a replacement here but are needed all the same.
NTSTATUS InitializeNotifyRoutines();

// Each calls the registered routine on the current thread; STATUS_DEVICE_NOT_READY when there is none.
NTSTATUS NotifyProcess(const KDW_SUBJECT& subject, bool created);
NTSTATUS NotifyThread(const KDW_SUBJECT& subject, bool created);
NTSTATUS NotifyThreadCreatedBy(const KDW_SUBJECT& subject);
