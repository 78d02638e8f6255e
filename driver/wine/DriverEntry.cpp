// KDetector as it is, and beside it the test-only device through which a program makes notifications happen.
// A driver has one table of dispatch routines for all its devices: requests are told apart by their device.
#include "CallerAccess.h"
#include "NotifyRoutines.h"

extern "C" DRIVER_INITIALIZE DriverEntry;
extern "C" DRIVER_INITIALIZE WineDriverEntry;

namespace {

UNICODE_STRING g_deviceName;
UNICODE_STRING g_linkName;
DEVICE_OBJECT* g_device;

// What KDetector's own DriverEntry has set.
PDRIVER_DISPATCH g_create;
PDRIVER_DISPATCH g_close;
PDRIVER_DISPATCH g_control;
PDRIVER_UNLOAD g_unload;

NTSTATUS Complete(IRP* irp, NTSTATUS status)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

NTSTATUS NTAPI OnCreate(DEVICE_OBJECT* device, IRP* irp)
{
    if (device == g_device) {
        return Complete(irp, STATUS_SUCCESS);
    }
    IO_STACK_LOCATION* const request = IoGetCurrentIrpStackLocation(irp);
    IO_SECURITY_CONTEXT context{};
    context.DesiredAccess = FindCallerAccess(request->FileObject);
    request->Parameters.Create.SecurityContext = &context;
    return g_create(device, irp);
}

NTSTATUS NTAPI OnClose(DEVICE_OBJECT* device, IRP* irp)
{
    return device == g_device ? Complete(irp, STATUS_SUCCESS) : g_close(device, irp);
}

NTSTATUS Notify(ULONG code, const KDW_SUBJECT& subject)
{
    switch (code) {
    case IOCTL_KDW_PROCESS_CREATED:
        return NotifyProcess(subject, true);
    case IOCTL_KDW_PROCESS_EXITED:
        return NotifyProcess(subject, false);
    case IOCTL_KDW_THREAD_CREATED:
        return NotifyThread(subject, true);
    case IOCTL_KDW_THREAD_EXITED:
        return NotifyThread(subject, false);
    case IOCTL_KDW_THREAD_CREATED_BY:
        return NotifyThreadCreatedBy(subject);
    default:
        return STATUS_INVALID_DEVICE_REQUEST;
    }
}

NTSTATUS NTAPI OnDeviceControl(DEVICE_OBJECT* device, IRP* irp)
{
    if (device != g_device) {
        return g_control(device, irp);
    }
    const auto& control = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    if (control.InputBufferLength != sizeof(KDW_SUBJECT)) {
        return Complete(irp, STATUS_INVALID_PARAMETER);
    }
    const auto* const subject = static_cast<const KDW_SUBJECT*>(irp->AssociatedIrp.SystemBuffer);
    return Complete(irp, Notify(control.IoControlCode, *subject));
}

VOID NTAPI OnUnload(DRIVER_OBJECT* driver)
{
    IoDeleteSymbolicLink(&g_linkName);
    IoDeleteDevice(g_device);
    g_unload(driver);
}

NTSTATUS AddDevice(DRIVER_OBJECT* driver)
{
    RtlInitUnicodeString(&g_deviceName, KDW_DEVICE_NAME);
    RtlInitUnicodeString(&g_linkName, KDW_LINK_NAME);
    NTSTATUS status = IoCreateDevice(driver, 0, &g_deviceName, FILE_DEVICE_UNKNOWN, 0, FALSE, &g_device);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&g_linkName, &g_deviceName);
        if (!NT_SUCCESS(status)) {
            IoDeleteDevice(g_device);
        }
    }
    return status;
}

} // namespace

extern "C" NTSTATUS NTAPI WineDriverEntry(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey)
{
    NTSTATUS status = InitializeNotifyRoutines();
    if (NT_SUCCESS(status)) {
        status = DriverEntry(driver, serviceKey);
    }
    if (!NT_SUCCESS(status)) {
        return status;
    }
    g_create = driver->MajorFunction[IRP_MJ_CREATE];
    g_close = driver->MajorFunction[IRP_MJ_CLOSE];
    g_control = driver->MajorFunction[IRP_MJ_DEVICE_CONTROL];
    g_unload = driver->DriverUnload;
    driver->MajorFunction[IRP_MJ_CREATE] = OnCreate;
    driver->MajorFunction[IRP_MJ_CLOSE] = OnClose;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = OnDeviceControl;
    driver->DriverUnload = OnUnload;

    status = AddDevice(driver);
    if (!NT_SUCCESS(status)) {
        g_unload(driver);
    }
    return status;
}
