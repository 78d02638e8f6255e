// The layouts that the binary interface of the x64 kernel fixes, as far as this driver depends on them: the sizes of
// what it embeds, and the offsets of what it reads and writes. mingw-w64's headers are not Microsoft's, so the mingw
// build holds them to the published layouts, which have been these since Windows 8.1 or longer.
#pragma once

#include <ntifs.h>

#include <stddef.h>

// Embedded in the driver's own memory, and written by the kernel.
static_assert(sizeof(ERESOURCE) == 0x68);
static_assert(sizeof(FAST_MUTEX) == 0x38);
static_assert(sizeof(LOOKASIDE_LIST_EX) == 0x60);
static_assert(sizeof(LIST_ENTRY) == 0x10);
static_assert(sizeof(UNICODE_STRING) == 0x10);
static_assert(sizeof(OBJECT_ATTRIBUTES) == 0x30);
static_assert(sizeof(SECURITY_DESCRIPTOR) == 0x28);
static_assert(sizeof(ACL) == 8);
static_assert(offsetof(ACCESS_ALLOWED_ACE, SidStart) == 8);
static_assert(offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data) == 12);

// The kernel's own, of which the driver uses members.
static_assert(offsetof(DRIVER_OBJECT, DriverUnload) == 0x68);
static_assert(offsetof(DRIVER_OBJECT, MajorFunction) == 0x70);
static_assert(offsetof(DEVICE_OBJECT, Flags) == 0x30);
static_assert(offsetof(IRP, MdlAddress) == 0x08);
static_assert(offsetof(IRP, AssociatedIrp) == 0x18);
static_assert(offsetof(IRP, IoStatus) == 0x30);
static_assert(offsetof(IRP, Tail.Overlay.CurrentStackLocation) == 0xB8);
static_assert(offsetof(IO_STACK_LOCATION, Parameters.Create.SecurityContext) == 0x08);
static_assert(offsetof(IO_STACK_LOCATION, Parameters.Read.Length) == 0x08);
static_assert(offsetof(IO_STACK_LOCATION, Parameters.DeviceIoControl.OutputBufferLength) == 0x08);
static_assert(offsetof(IO_STACK_LOCATION, Parameters.DeviceIoControl.IoControlCode) == 0x18);
static_assert(offsetof(IO_STACK_LOCATION, FileObject) == 0x30);
static_assert(sizeof(IO_STACK_LOCATION) == 0x48);
static_assert(offsetof(IO_SECURITY_CONTEXT, DesiredAccess) == 0x10);
static_assert(offsetof(MDL, MdlFlags) == 0x0A);
static_assert(offsetof(MDL, MappedSystemVa) == 0x18);
