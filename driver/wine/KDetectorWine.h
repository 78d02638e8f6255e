// What the test-only device promises to programs. No driver but the one made for Wine has it.
// Include it after <Windows.h> and <winioctl.h>, or after <ntifs.h>.
#pragma once

#define KDW_DEVICE_NAME L"\\Device\\kdetector-wine"
#define KDW_LINK_NAME L"\\??\\kdetector-wine"
#define KDW_USER_PATH L"\\\\.\\kdetector-wine"

// Each code makes one notification, on the thread that sends it: that thread is the creator. Input is a
// KDW_SUBJECT, whole; there is no output.
//
//   problem                                     NTSTATUS                       Win32 error
//   an input of another size                    STATUS_INVALID_PARAMETER       ERROR_INVALID_PARAMETER (87)
//   KDetector has no such routine registered    STATUS_DEVICE_NOT_READY        ERROR_NOT_READY (21)
//   an unknown control code                     STATUS_INVALID_DEVICE_REQUEST  ERROR_INVALID_FUNCTION (1)
#define KDW_CONTROL_CODE(Number) CTL_CODE(0x8000U, 0x900 + (Number), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_KDW_PROCESS_CREATED KDW_CONTROL_CODE(0)
#define IOCTL_KDW_PROCESS_EXITED KDW_CONTROL_CODE(1)
#define IOCTL_KDW_THREAD_CREATED KDW_CONTROL_CODE(2)
#define IOCTL_KDW_THREAD_EXITED KDW_CONTROL_CODE(3)

// As IOCTL_KDW_THREAD_CREATED, with the creator that the input names: for those that no program can be, like
// the System process.
#define IOCTL_KDW_THREAD_CREATED_BY KDW_CONTROL_CODE(4)

// What happens to whom; fields that a code has no use for are not looked at.
struct KDW_SUBJECT {
    UINT32 ProcessId;
    UINT32 ThreadId;
    UINT32 CreatorProcessId;
    UINT32 CreatorThreadId;
};
static_assert(sizeof(KDW_SUBJECT) == 16);
