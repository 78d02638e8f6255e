// The requests of programs. They arrive at PASSIVE_LEVEL, on the program's own thread, and are all completed
// at once.
#include "Detector.h"

namespace {

_IRQL_requires_max_(DISPATCH_LEVEL)
NTSTATUS Complete(IRP* irp, NTSTATUS status, ULONG_PTR information = 0)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

// With FILE_ANY_ACCESS and METHOD_BUFFERED the system buffer is the only one, for the answer as well.
template <typename TAnswer> NTSTATUS CompleteWith(IRP* irp, ULONG room, const TAnswer& answer)
{
    if (room < sizeof(answer)) {
        return Complete(irp, STATUS_BUFFER_TOO_SMALL);
    }
    RtlCopyMemory(irp->AssociatedIrp.SystemBuffer, &answer, sizeof(answer));
    return Complete(irp, STATUS_SUCCESS, sizeof(answer));
}

} // namespace

_Use_decl_annotations_
NTSTATUS Detector::OnCreate(DEVICE_OBJECT*, IRP* irp)
{
    const IO_STACK_LOCATION* const request = IoGetCurrentIrpStackLocation(irp);
    // MAXIMUM_ALLOWED is left only for callers in kernel mode, who get every right, reading among them.
    const ACCESS_MASK access = request->Parameters.Create.SecurityContext->DesiredAccess;
    if ((access & (FILE_READ_DATA | MAXIMUM_ALLOWED)) != 0 &&
        !s_instance->m_reader.TryAdmit(request->FileObject)) {
        return Complete(irp, STATUS_SHARING_VIOLATION);
    }
    return Complete(irp, STATUS_SUCCESS);
}

// The close, not the cleanup before it: that one comes with the last handle, while another thread may still
// be reading through it.
_Use_decl_annotations_
NTSTATUS Detector::OnClose(DEVICE_OBJECT*, IRP* irp)
{
    s_instance->m_reader.Dismiss(IoGetCurrentIrpStackLocation(irp)->FileObject);
    return Complete(irp, STATUS_SUCCESS);
}

_Use_decl_annotations_
NTSTATUS Detector::OnRead(DEVICE_OBJECT*, IRP* irp)
{
    const IO_STACK_LOCATION* const request = IoGetCurrentIrpStackLocation(irp);
    // The I/O manager checks a program's handle, but not one of the kernel's.
    if (!s_instance->m_reader.IsAdmitted(request->FileObject)) {
        return Complete(irp, STATUS_ACCESS_DENIED);
    }
    const ULONG size = request->Parameters.Read.Length;
    // Nothing to map: the request has no MDL then.
    if (size == 0) {
        return Complete(irp, STATUS_INVALID_BUFFER_SIZE);
    }
    if (size < sizeof(KD_REMOTE_THREAD)) {
        return Complete(irp, STATUS_BUFFER_TOO_SMALL);
    }
    auto* const records = static_cast<KD_REMOTE_THREAD*>(
        MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute));
    if (records == nullptr) {
        return Complete(irp, STATUS_INSUFFICIENT_RESOURCES);
    }
    // The queue is locked for one record at a time, so that no notification waits for a whole buffer.
    const ULONG room = size / sizeof(KD_REMOTE_THREAD);
    ULONG count = 0;
    while (count < room && s_instance->m_remoteThreads.Pop(records[count])) {
        ++count;
    }
    return Complete(irp, STATUS_SUCCESS, count * sizeof(KD_REMOTE_THREAD));
}

_Use_decl_annotations_
NTSTATUS Detector::OnDeviceControl(DEVICE_OBJECT*, IRP* irp)
{
    const auto& control = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    switch (control.IoControlCode) {
    case IOCTL_KD_VERSION:
        return CompleteWith(
            irp, control.OutputBufferLength, KD_VERSION{KD_INTERFACE_VERSION, sizeof(KD_REMOTE_THREAD)});
    case IOCTL_KD_STATISTICS:
        return CompleteWith(irp, control.OutputBufferLength, s_instance->Statistics());
    default:
        return Complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    }
}
