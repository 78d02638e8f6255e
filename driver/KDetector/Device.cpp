#include "Device.h"
#include "KDetectorPublic.h"
#include "KernelHandle.h"

namespace {

// S-1-5-18 and S-1-5-32-544, laid out as the kernel wants them. SID itself has room for one sub-authority.
struct AdministratorsSid {
    SID Head;
    ULONG SecondSubAuthority;
};

constexpr SID SYSTEM_SID = {SID_REVISION, 1, SECURITY_NT_AUTHORITY, {SECURITY_LOCAL_SYSTEM_RID}};
constexpr AdministratorsSid ADMINISTRATORS_SID = {
    {SID_REVISION, 2, SECURITY_NT_AUTHORITY, {SECURITY_BUILTIN_DOMAIN_RID}}, DOMAIN_ALIAS_RID_ADMINS};

// An allowing entry ends with the SID, whose first ULONG it already counts.
constexpr ULONG ACE_SIZE_WITHOUT_SID = FIELD_OFFSET(ACCESS_ALLOWED_ACE, SidStart);
constexpr ULONG ACL_SIZE = sizeof(ACL) + ACE_SIZE_WITHOUT_SID + sizeof(SYSTEM_SID) + ACE_SIZE_WITHOUT_SID +
                           sizeof(ADMINISTRATORS_SID);

_IRQL_requires_max_(PASSIVE_LEVEL)
NTSTATUS Allow(ACL* acl, const SID& who)
{
    // The routine copies the SID; its type just isn't const.
    return RtlAddAccessAllowedAce(acl, ACL_REVISION, FILE_ALL_ACCESS, const_cast<SID*>(&who));
}

} // namespace

_Use_decl_annotations_
Device::~Device()
{
    if (m_device != nullptr) {
        IoDeleteDevice(m_device);
    }
}

_Use_decl_annotations_
NTSTATUS Device::Create(DRIVER_OBJECT* driver)
{
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, KD_DEVICE_NAME);
    // FILE_DEVICE_SECURE_OPEN: the device's access list also guards names below it, like \Device\kdetector\x.
    const NTSTATUS status =
        IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &m_device);
    if (NT_SUCCESS(status)) {
        m_device->Flags |= DO_DIRECT_IO;
    }
    return status;
}

// IoCreateDeviceSecure would do this too, but it is no kernel routine: it comes from a static library of the
// WDK alone. Until DriverEntry has returned, the I/O manager opens no device made in it, so nobody gets in
// between.
_Use_decl_annotations_
NTSTATUS Device::RestrictAccess()
{
    alignas(ACL) UCHAR buffer[ACL_SIZE];
    auto* const acl = reinterpret_cast<ACL*>(buffer);
    SECURITY_DESCRIPTOR descriptor;
    KernelHandle device;

    NTSTATUS status = RtlCreateAcl(acl, sizeof(buffer), ACL_REVISION);
    if (NT_SUCCESS(status)) {
        status = Allow(acl, SYSTEM_SID);
    }
    if (NT_SUCCESS(status)) {
        status = Allow(acl, ADMINISTRATORS_SID.Head);
    }
    if (NT_SUCCESS(status)) {
        status = RtlCreateSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION);
    }
    if (NT_SUCCESS(status)) {
        status = RtlSetDaclSecurityDescriptor(&descriptor, TRUE, acl, FALSE);
    }
    if (NT_SUCCESS(status)) {
        status = ObOpenObjectByPointer(
            m_device, OBJ_KERNEL_HANDLE, nullptr, WRITE_DAC, nullptr, KernelMode, device.Put());
    }
    if (NT_SUCCESS(status)) {
        // Protected: nothing is inherited from the object directory.
        descriptor.Control |= SE_DACL_PROTECTED;
        status = ZwSetSecurityObject(
            device.Get(), DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, &descriptor);
    }
    return status;
}

_Use_decl_annotations_
SymbolicLink::~SymbolicLink()
{
    if (m_created) {
        UNICODE_STRING link;
        RtlInitUnicodeString(&link, KD_LINK_NAME);
        IoDeleteSymbolicLink(&link);
    }
}

_Use_decl_annotations_
NTSTATUS SymbolicLink::Create()
{
    UNICODE_STRING link;
    UNICODE_STRING target;
    RtlInitUnicodeString(&link, KD_LINK_NAME);
    RtlInitUnicodeString(&target, KD_DEVICE_NAME);
    const NTSTATUS status = IoCreateSymbolicLink(&link, &target);
    m_created = NT_SUCCESS(status);
    return status;
}
