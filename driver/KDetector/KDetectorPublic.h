// What KDetector promises to programs: names, record, control codes, settings, error codes.
// Include it after <Windows.h> and <winioctl.h>, or after <ntifs.h>.
#pragma once

// The device, as the kernel knows it, its link in the DOS name space, and what CreateFile takes.
#define KD_DEVICE_NAME L"\\Device\\kdetector"
#define KD_LINK_NAME L"\\??\\kdetector"
#define KD_USER_PATH L"\\\\.\\kdetector"

// One remote thread, as ReadFile returns it: packed, little-endian, 24 bytes, Python's "<q4I".
#pragma pack(push, 1)
struct KD_REMOTE_THREAD {
    INT64 Time; // FILETIME: 100 ns since 1601-01-01 UTC
    UINT32 CreatorProcessId;
    UINT32 CreatorThreadId;
    UINT32 ProcessId;
    UINT32 ThreadId;
};
#pragma pack(pop)
static_assert(sizeof(KD_REMOTE_THREAD) == 24);

// Reading
//   Takes FILE_READ_DATA, which one handle at a time can have: two drainers would split the
//   records between them. Returns whole records, oldest first, as many as there are and fit.
//   An empty queue is a success of 0 bytes.
//
//   problem                                  NTSTATUS                       Win32 error
//   a second handle with read access         STATUS_SHARING_VIOLATION       ERROR_SHARING_VIOLATION (32)
//   a read of zero bytes                     STATUS_INVALID_BUFFER_SIZE     ERROR_INVALID_USER_BUFFER (1784)
//   a read of less than a record             STATUS_BUFFER_TOO_SMALL        ERROR_INSUFFICIENT_BUFFER (122)
//   a control code's answer does not fit     STATUS_BUFFER_TOO_SMALL        ERROR_INSUFFICIENT_BUFFER (122)
//   an unknown control code                  STATUS_INVALID_DEVICE_REQUEST  ERROR_INVALID_FUNCTION (1)

// Control codes: FILE_ANY_ACCESS, so any number of handles, opened with no access at all, may ask.
// Device types from 0x8000 and functions from 0x800 are the ones left to vendors.
#define KD_DEVICE_TYPE 0x8000U
#define KD_CONTROL_CODE(Number) CTL_CODE(KD_DEVICE_TYPE, 0x800 + (Number), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_KD_VERSION KD_CONTROL_CODE(0)
#define IOCTL_KD_STATISTICS KD_CONTROL_CODE(1)

// The version of this page: it grows when a structure here grows or changes its meaning.
constexpr UINT32 KD_INTERFACE_VERSION = 1;

struct KD_VERSION {
    UINT32 Version;    // KD_INTERFACE_VERSION of the loaded driver
    UINT32 RecordSize; // sizeof(KD_REMOTE_THREAD) of the loaded driver
};
static_assert(sizeof(KD_VERSION) == 8);

// Counted since the driver was loaded. Two sums hold in every answer, however busy the system is:
//   ThreadsSeen = FirstThreads + OwnThreads + ExcludedThreads + Reported
//   Reported    = Dropped + Queued + Delivered
struct KD_STATISTICS {
    UINT64 ThreadsSeen;        // every thread creation
    UINT64 FirstThreads;       // the first thread of a new process, whoever made it
    UINT64 OwnThreads;         // made by a thread of the same process
    UINT64 ExcludedThreads;    // made by or in the Idle (0) or System (4) process
    UINT64 Reported;           // remote threads
    UINT64 Dropped;            // of these, lost: pushed out of a full queue, or no memory to queue them
    UINT64 TableSize;          // processes that wait for their first thread now
    UINT64 Evictions;          // processes pushed out of a full table
    UINT64 AllocationFailures; // processes and records that there was no memory for
    UINT64 TableBound;         // the most processes that the table holds
    UINT64 QueueBound;         // the most records that the queue holds
    UINT64 Queued;             // records that wait to be read now
    UINT64 Delivered;          // records read
};
static_assert(sizeof(KD_STATISTICS) == 13 * sizeof(UINT64));

// Settings: REG_DWORD values in the Parameters subkey of the service's key, read at load.
// Absent, of another type or 0 means the default; more than the most means the most.
#define KD_PARAMETERS_KEY L"Parameters"
#define KD_TABLE_BOUND_VALUE L"TableBound"
#define KD_QUEUE_BOUND_VALUE L"QueueBound"

constexpr UINT32 KD_DEFAULT_TABLE_BOUND = 16'384;
constexpr UINT32 KD_DEFAULT_QUEUE_BOUND = 65'536;

// About 64 bytes of nonpaged pool a queued record and 80 a waiting process: at the most, neither
// can take more than 80 MB.
constexpr UINT32 KD_MOST_BOUND = 1'048'576;
