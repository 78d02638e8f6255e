#include "Settings.h"
#include "KernelHandle.h"

namespace {

_IRQL_requires_max_(PASSIVE_LEVEL)
NTSTATUS OpenKey(KernelHandle& key, HANDLE parent, UNICODE_STRING* name)
{
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, parent, nullptr);
    return ZwOpenKey(key.Put(), KEY_READ, &attributes);
}

_IRQL_requires_max_(PASSIVE_LEVEL)
ULONG ReadBound(HANDLE key, PCWSTR valueName, ULONG otherwise)
{
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, valueName);

    // Room for a DWORD and no more: any longer value fails with STATUS_BUFFER_OVERFLOW.
    constexpr ULONG size = FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data) + sizeof(ULONG);
    alignas(KEY_VALUE_PARTIAL_INFORMATION) UCHAR buffer[size];
    const auto* const value = reinterpret_cast<KEY_VALUE_PARTIAL_INFORMATION*>(buffer);
    ULONG needed = 0;
    const NTSTATUS status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, size, &needed);
    if (!NT_SUCCESS(status) || value->Type != REG_DWORD || value->DataLength != sizeof(ULONG)) {
        return otherwise;
    }

    ULONG bound = 0;
    RtlCopyMemory(&bound, value->Data, sizeof(bound));
    if (bound == 0) {
        return otherwise;
    }
    return bound < KD_MOST_BOUND ? bound : KD_MOST_BOUND;
}

} // namespace

_Use_decl_annotations_
Settings Settings::Read(UNICODE_STRING* serviceKey)
{
    Settings settings;
    UNICODE_STRING parametersName;
    RtlInitUnicodeString(&parametersName, KD_PARAMETERS_KEY);

    KernelHandle service;
    KernelHandle parameters;
    if (NT_SUCCESS(OpenKey(service, nullptr, serviceKey)) &&
        NT_SUCCESS(OpenKey(parameters, service.Get(), &parametersName))) {
        settings.TableBound = ReadBound(parameters.Get(), KD_TABLE_BOUND_VALUE, settings.TableBound);
        settings.QueueBound = ReadBound(parameters.Get(), KD_QUEUE_BOUND_VALUE, settings.QueueBound);
    }
    return settings;
}
