#include "Simulation.h"

#include <cstring>

std::u16string sim::ToString(const UNICODE_STRING& string)
{
    std::u16string result;
    for (std::size_t index = 0; index < string.Length / sizeof(WCHAR); ++index) {
        result.push_back(static_cast<char16_t>(string.Buffer[index]));
    }
    return result;
}

std::string sim::ToNarrow(const std::u16string& string)
{
    // Names in here are ASCII.
    return std::string(string.begin(), string.end());
}

extern "C" {

void RtlInitUnicodeString(UNICODE_STRING* destination, PCWSTR source)
{
    std::size_t length = 0;
    while (source[length] != 0) {
        ++length;
    }
    destination->Length = static_cast<USHORT>(length * sizeof(WCHAR));
    destination->MaximumLength = static_cast<USHORT>(destination->Length + sizeof(WCHAR));
    destination->Buffer = const_cast<PWSTR>(source);
}

NTSTATUS RtlCreateAcl(ACL* acl, ULONG length, ULONG revision)
{
    if (sim::Fails("RtlCreateAcl") || length < sizeof(ACL)) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    *acl = {static_cast<UCHAR>(revision), 0, static_cast<USHORT>(length), 0, 0};
    return STATUS_SUCCESS;
}

NTSTATUS RtlAddAccessAllowedAce(ACL* acl, ULONG, ACCESS_MASK mask, SID* sid)
{
    auto* place = reinterpret_cast<UCHAR*>(acl + 1);
    for (USHORT index = 0; index < acl->AceCount; ++index) {
        place += reinterpret_cast<ACE_HEADER*>(place)->AceSize;
    }
    const std::size_t sidSize = offsetof(SID, SubAuthority) + sid->SubAuthorityCount * sizeof(ULONG);
    const std::size_t size = offsetof(ACCESS_ALLOWED_ACE, SidStart) + sidSize;
    const std::size_t room = static_cast<std::size_t>(reinterpret_cast<UCHAR*>(acl) + acl->AclSize - place);
    if (sim::Fails("RtlAddAccessAllowedAce") || size > room) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    auto* const ace = reinterpret_cast<ACCESS_ALLOWED_ACE*>(place);
    ace->Header = {ACCESS_ALLOWED_ACE_TYPE, 0, static_cast<USHORT>(size)};
    ace->Mask = mask;
    std::memcpy(&ace->SidStart, sid, sidSize);
    ++acl->AceCount;
    return STATUS_SUCCESS;
}

NTSTATUS RtlCreateSecurityDescriptor(SECURITY_DESCRIPTOR* descriptor, ULONG revision)
{
    if (sim::Fails("RtlCreateSecurityDescriptor")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    *descriptor = {};
    descriptor->Revision = static_cast<UCHAR>(revision);
    return STATUS_SUCCESS;
}

NTSTATUS RtlSetDaclSecurityDescriptor(SECURITY_DESCRIPTOR* descriptor, BOOLEAN present, ACL* dacl, BOOLEAN)
{
    if (sim::Fails("RtlSetDaclSecurityDescriptor")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (present) {
        descriptor->Control |= SE_DACL_PRESENT;
    }
    descriptor->Dacl = dacl;
    return STATUS_SUCCESS;
}

} // extern "C"
