// KDetector reports every thread that one process creates in another. What comes out: KDetectorPublic.h. How
// it decides: RemoteThreadRule.h.
#include "Detector.h"

namespace {

DRIVER_UNLOAD DriverUnload;

_Use_decl_annotations_
void DriverUnload(DRIVER_OBJECT*)
{
    Detector::Unload();
}

} // namespace

extern "C" DRIVER_INITIALIZE DriverEntry;

_Use_decl_annotations_
extern "C" NTSTATUS DriverEntry(DRIVER_OBJECT* driver, UNICODE_STRING* serviceKey)
{
    driver->DriverUnload = DriverUnload;
    driver->MajorFunction[IRP_MJ_CREATE] = Detector::OnCreate;
    driver->MajorFunction[IRP_MJ_CLOSE] = Detector::OnClose;
    driver->MajorFunction[IRP_MJ_READ] = Detector::OnRead;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Detector::OnDeviceControl;
    return Detector::Load(driver, serviceKey);
}
