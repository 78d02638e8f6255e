// A driver that misbehaves as the Parameters key of its service says: for the client's tests of what Windows, or
// another version of KDetector, may answer. It takes KDetector's place and name.
#include <ntifs.h>

#include "KDetectorPublic.h"

namespace {

UNICODE_STRING g_deviceName;
UNICODE_STRING g_linkName;

// REG_DWORD values; an absent one is what is given here.
struct Orders {
    ULONG LoadStatus = 0;     // what DriverEntry returns: an NTSTATUS
    ULONG ReadStatus = 0;     // what reading gives
    ULONG Version = 1;        // the interface version that it claims
    ULONG RecordSize = 24;    // the record size that it claims
    ULONG WaitForHandles = 0; // not 0: stopping takes until every handle is closed, as it does in Windows
} g_orders;

volatile LONG g_handles;

ULONG ReadOrder(HANDLE key, PCWSTR name, ULONG otherwise)
{
    constexpr ULONG size = FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data) + sizeof(ULONG);
    alignas(KEY_VALUE_PARTIAL_INFORMATION) UCHAR buffer[size];
    UNICODE_STRING counted;
    RtlInitUnicodeString(&counted, name);
    ULONG needed = 0;
    const NTSTATUS status = ZwQueryValueKey(key, &counted, KeyValuePartialInformation, buffer, size, &needed);
    if (!NT_SUCCESS(status)) {
        return otherwise;
    }
    ULONG order = 0;
    RtlCopyMemory(&order, reinterpret_cast<KEY_VALUE_PARTIAL_INFORMATION*>(buffer)->Data, sizeof(order));
    return order;
}

NTSTATUS OpenKey(HANDLE* key, HANDLE parent, UNICODE_STRING* name)
{
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, parent, nullptr);
    return ZwOpenKey(key, KEY_READ, &attributes);
}

void ReadOrders(UNICODE_STRING* serviceKey)
{
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, KD_PARAMETERS_KEY);
    HANDLE service;
    HANDLE parameters;
    if (!NT_SUCCESS(OpenKey(&service, nullptr, serviceKey))) {
        return;
    }
    if (NT_SUCCESS(OpenKey(&parameters, service, &name))) {
        g_orders.LoadStatus = ReadOrder(parameters, L"LoadStatus", g_orders.LoadStatus);
        g_orders.ReadStatus = ReadOrder(parameters, L"ReadStatus", g_orders.ReadStatus);
        g_orders.Version = ReadOrder(parameters, L"Version", g_orders.Version);
        g_orders.RecordSize = ReadOrder(parameters, L"RecordSize", g_orders.RecordSize);
        g_orders.WaitForHandles = ReadOrder(parameters, L"WaitForHandles", g_orders.WaitForHandles);
        ZwClose(parameters);
    }
    ZwClose(service);
}

NTSTATUS Complete(IRP* irp, NTSTATUS status, ULONG_PTR information = 0)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

NTSTATUS NTAPI OnCreate(DEVICE_OBJECT*, IRP* irp)
{
    InterlockedIncrement(&g_handles);
    return Complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI OnClose(DEVICE_OBJECT*, IRP* irp)
{
    InterlockedDecrement(&g_handles);
    return Complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI OnRead(DEVICE_OBJECT*, IRP* irp)
{
    return Complete(irp, static_cast<NTSTATUS>(g_orders.ReadStatus));
}

NTSTATUS NTAPI OnDeviceControl(DEVICE_OBJECT*, IRP* irp)
{
    const auto& control = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    void* const answer = irp->AssociatedIrp.SystemBuffer;
    if (control.IoControlCode == IOCTL_KD_VERSION && control.OutputBufferLength >= sizeof(KD_VERSION)) {
        *static_cast<KD_VERSION*>(answer) = {g_orders.Version, g_orders.RecordSize};
        return Complete(irp, STATUS_SUCCESS, sizeof(KD_VERSION));
    }
    if (control.IoControlCode == IOCTL_KD_STATISTICS && control.OutputBufferLength >= sizeof(KD_STATISTICS)) {
        auto* const statistics = static_cast<KD_STATISTICS*>(answer);
        *statistics = {};
        statistics->TableSize = g_handles; // so a test can wait for somebody to open the device
        return Complete(irp, STATUS_SUCCESS, sizeof(KD_STATISTICS));
    }
    return Complete(irp, STATUS_INVALID_DEVICE_REQUEST);
}

// Windows does not call DriverUnload while a handle is open. Wine does, at once; so the wait is here, for two
// minutes at most: longer than any client waits for the stop.
VOID NTAPI OnUnload(DRIVER_OBJECT* driver)
{
    LARGE_INTEGER tick;
    tick.QuadPart = -10 * 1000 * 10; // 10 ms, relative, in 100 ns
    for (int i = 0; i < 12'000 && g_orders.WaitForHandles != 0 && g_handles != 0; ++i) {
        KeDelayExecutionThread(KernelMode, FALSE, &tick);
    }
    IoDeleteSymbolicLink(&g_linkName);
    IoDeleteDevice(driver->DeviceObject);
}

} // namespace

extern "C" DRIVER_INITIALIZE DriverEntry;

extern "C" NTSTATUS DriverEntry(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey)
{
    RtlInitUnicodeString(&g_deviceName, KD_DEVICE_NAME);
    RtlInitUnicodeString(&g_linkName, KD_LINK_NAME);
    ReadOrders(serviceKey);
    auto status = static_cast<NTSTATUS>(g_orders.LoadStatus);
    DEVICE_OBJECT* device = nullptr;
    if (NT_SUCCESS(status)) {
        status = IoCreateDevice(driver, 0, &g_deviceName, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    }
    if (NT_SUCCESS(status)) {
        device->Flags |= DO_DIRECT_IO;
        status = IoCreateSymbolicLink(&g_linkName, &g_deviceName);
        if (!NT_SUCCESS(status)) {
            IoDeleteDevice(device);
        }
    }
    driver->MajorFunction[IRP_MJ_CREATE] = OnCreate;
    driver->MajorFunction[IRP_MJ_CLOSE] = OnClose;
    driver->MajorFunction[IRP_MJ_READ] = OnRead;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = OnDeviceControl;
    driver->DriverUnload = OnUnload;
    return status;
}
