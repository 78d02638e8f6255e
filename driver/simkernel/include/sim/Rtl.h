// Run-time library: strings, lists, memory, access control lists in their documented layout.
#pragma once

#include "Types.h"

#define RtlZeroMemory(Destination, Length) memset((Destination), 0, (Length))
#define RtlCopyMemory(Destination, Source, Length) memcpy((Destination), (Source), (Length))

inline void InitializeListHead(LIST_ENTRY* head)
{
    head->Flink = head->Blink = head;
}

inline bool IsListEmpty(const LIST_ENTRY* head)
{
    return head->Flink == head;
}

inline void InsertTailList(LIST_ENTRY* head, LIST_ENTRY* entry)
{
    entry->Flink = head;
    entry->Blink = head->Blink;
    head->Blink->Flink = entry;
    head->Blink = entry;
}

inline void RemoveEntryList(LIST_ENTRY* entry)
{
    entry->Blink->Flink = entry->Flink;
    entry->Flink->Blink = entry->Blink;
}

inline LIST_ENTRY* RemoveHeadList(LIST_ENTRY* head)
{
    LIST_ENTRY* const entry = head->Flink;
    RemoveEntryList(entry);
    return entry;
}

struct SID_IDENTIFIER_AUTHORITY {
    UCHAR Value[6];
};

struct SID {
    UCHAR Revision;
    UCHAR SubAuthorityCount;
    SID_IDENTIFIER_AUTHORITY IdentifierAuthority;
    ULONG SubAuthority[1];
};

struct ACL {
    UCHAR AclRevision;
    UCHAR Sbz1;
    USHORT AclSize;
    USHORT AceCount;
    USHORT Sbz2;
};

struct ACE_HEADER {
    UCHAR AceType;
    UCHAR AceFlags;
    USHORT AceSize;
};

struct ACCESS_ALLOWED_ACE {
    ACE_HEADER Header;
    ACCESS_MASK Mask;
    ULONG SidStart;
};

struct SECURITY_DESCRIPTOR {
    UCHAR Revision;
    UCHAR Sbz1;
    USHORT Control;
    SID* Owner;
    SID* Group;
    ACL* Sacl;
    ACL* Dacl;
};

constexpr UCHAR SID_REVISION = 1;
constexpr ULONG ACL_REVISION = 2;
constexpr ULONG SECURITY_DESCRIPTOR_REVISION = 1;
constexpr UCHAR ACCESS_ALLOWED_ACE_TYPE = 0;
constexpr USHORT SE_DACL_PRESENT = 0x0004;
constexpr USHORT SE_DACL_PROTECTED = 0x1000;
constexpr ULONG SECURITY_LOCAL_SYSTEM_RID = 18;
constexpr ULONG SECURITY_BUILTIN_DOMAIN_RID = 32;
constexpr ULONG DOMAIN_ALIAS_RID_ADMINS = 544;
#define SECURITY_NT_AUTHORITY                                                                                \
    {                                                                                                        \
        0, 0, 0, 0, 0, 5                                                                                     \
    }

extern "C" {
void RtlInitUnicodeString(UNICODE_STRING* destination, PCWSTR source);
NTSTATUS RtlCreateAcl(ACL* acl, ULONG length, ULONG revision);
NTSTATUS RtlAddAccessAllowedAce(ACL* acl, ULONG revision, ACCESS_MASK mask, SID* sid);
NTSTATUS RtlCreateSecurityDescriptor(SECURITY_DESCRIPTOR* descriptor, ULONG revision);
NTSTATUS
RtlSetDaclSecurityDescriptor(SECURITY_DESCRIPTOR* descriptor, BOOLEAN present, ACL* dacl, BOOLEAN defaulted);
}
