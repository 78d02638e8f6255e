// I/O manager: drivers, devices, requests.
#pragma once

#include "Types.h"
#include "Mm.h"

struct DEVICE_OBJECT {
    ULONG Flags;
    ULONG Characteristics;
};

struct FILE_OBJECT {
    DEVICE_OBJECT* DeviceObject;
};

struct IO_SECURITY_CONTEXT {
    ACCESS_MASK DesiredAccess;
};

struct IO_STATUS_BLOCK {
    NTSTATUS Status;
    ULONG_PTR Information;
};

struct IO_STACK_LOCATION {
    UCHAR MajorFunction;
    union {
        struct {
            IO_SECURITY_CONTEXT* SecurityContext;
        } Create;
        struct {
            ULONG Length;
        } Read;
        struct {
            ULONG OutputBufferLength;
            ULONG InputBufferLength;
            ULONG IoControlCode;
        } DeviceIoControl;
    } Parameters;
    FILE_OBJECT* FileObject;
};

struct IRP {
    MDL* MdlAddress;
    struct {
        PVOID SystemBuffer;
    } AssociatedIrp;
    IO_STATUS_BLOCK IoStatus;
    IO_STACK_LOCATION* CurrentStackLocation;
    bool Completed;
};

struct DRIVER_OBJECT;
using DRIVER_DISPATCH = NTSTATUS(DEVICE_OBJECT* device, IRP* irp);
using DRIVER_UNLOAD = void(DRIVER_OBJECT* driver);
using DRIVER_INITIALIZE = NTSTATUS(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey);

constexpr UCHAR IRP_MJ_CREATE = 0x00;
constexpr UCHAR IRP_MJ_CLOSE = 0x02;
constexpr UCHAR IRP_MJ_READ = 0x03;
constexpr UCHAR IRP_MJ_DEVICE_CONTROL = 0x0E;
constexpr UCHAR IRP_MJ_CLEANUP = 0x12;
constexpr UCHAR IRP_MJ_MAXIMUM_FUNCTION = 0x1B;

struct DRIVER_OBJECT {
    DRIVER_UNLOAD* DriverUnload;
    DRIVER_DISPATCH* MajorFunction[IRP_MJ_MAXIMUM_FUNCTION + 1];
};

constexpr ULONG FILE_DEVICE_UNKNOWN = 0x22;
constexpr ULONG FILE_DEVICE_SECURE_OPEN = 0x100;
constexpr ULONG DO_DIRECT_IO = 0x10;
constexpr ULONG METHOD_BUFFERED = 0;
constexpr ULONG FILE_ANY_ACCESS = 0;
constexpr CCHAR IO_NO_INCREMENT = 0;

constexpr ACCESS_MASK FILE_READ_DATA = 0x1;
constexpr ACCESS_MASK FILE_GENERIC_READ = 0x120089;
constexpr ACCESS_MASK FILE_ALL_ACCESS = 0x1F01FF;
constexpr ACCESS_MASK WRITE_DAC = 0x40000;
constexpr ACCESS_MASK MAXIMUM_ALLOWED = 0x2000000;
constexpr ACCESS_MASK GENERIC_READ = 0x80000000;

#define CTL_CODE(DeviceType, Function, Method, Access)                                                       \
    (((DeviceType) << 16) | ((Access) << 14) | ((Function) << 2) | (Method))

inline IO_STACK_LOCATION* IoGetCurrentIrpStackLocation(IRP* irp)
{
    return irp->CurrentStackLocation;
}

extern "C" {
NTSTATUS IoCreateDevice(
    DRIVER_OBJECT* driver,
    ULONG extensionSize,
    UNICODE_STRING* name,
    ULONG type,
    ULONG characteristics,
    BOOLEAN exclusive,
    DEVICE_OBJECT** device);
void IoDeleteDevice(DEVICE_OBJECT* device);
NTSTATUS IoCreateSymbolicLink(UNICODE_STRING* link, UNICODE_STRING* target);
NTSTATUS IoDeleteSymbolicLink(UNICODE_STRING* link);
void IoCompleteRequest(IRP* irp, CCHAR priorityBoost);
}
