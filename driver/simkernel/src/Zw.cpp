// System services, and the handles of the system process that they take.
#include "SimKernel.h"
#include "Simulation.h"

#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <variant>
#include <vector>

namespace {

const std::u16string SERVICE_KEY = SIM_SERVICE_KEY;
const std::u16string PARAMETERS_KEY = SERVICE_KEY + u"\\Parameters";

struct Value {
    ULONG Type;
    std::vector<std::uint8_t> Data;
};

struct Key {
    std::u16string Path;
};

std::mutex g_mutex;
std::map<std::u16string, Value> g_values; // of the Parameters key, which is there as soon as it has one
std::unordered_map<HANDLE, std::variant<Key, DEVICE_OBJECT*>> g_handles;
std::uintptr_t g_nextHandle = 0x80000004;

HANDLE NewHandle(std::variant<Key, DEVICE_OBJECT*> object)
{
    const auto handle = reinterpret_cast<HANDLE>(g_nextHandle);
    g_nextHandle += 4;
    g_handles.emplace(handle, std::move(object));
    return handle;
}

void RequireKernelHandle(const char* routine, ULONG attributes)
{
    if ((attributes & OBJ_KERNEL_HANDLE) == 0) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION", "%s makes a handle that a program could use", routine);
    }
}

void SetValue(const char* name, ULONG type, const void* data, std::size_t size)
{
    const std::string narrow = name;
    const auto* const bytes = static_cast<const std::uint8_t*>(data);
    const std::lock_guard guard(g_mutex);
    g_values[std::u16string(narrow.begin(), narrow.end())] = {type, {bytes, bytes + size}};
}

} // namespace

extern "C" {

NTSTATUS ZwClose(HANDLE handle)
{
    sim::RequireIrql("ZwClose", PASSIVE_LEVEL);
    const std::lock_guard guard(g_mutex);
    if (g_handles.erase(handle) == 0) {
        sim::Bugcheck("INVALID_KERNEL_HANDLE", "ZwClose(%p)", handle);
    }
    return STATUS_SUCCESS;
}

NTSTATUS ZwOpenKey(HANDLE* key, ACCESS_MASK, OBJECT_ATTRIBUTES* attributes)
{
    sim::RequireIrql("ZwOpenKey", PASSIVE_LEVEL);
    RequireKernelHandle("ZwOpenKey", attributes->Attributes);
    if (sim::Fails("ZwOpenKey")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const std::lock_guard guard(g_mutex);
    std::u16string path = sim::ToString(*attributes->ObjectName);
    if (attributes->RootDirectory != nullptr) {
        const auto parent = g_handles.find(attributes->RootDirectory);
        if (parent == g_handles.end()) {
            return STATUS_INVALID_HANDLE;
        }
        path = std::get<Key>(parent->second).Path + u"\\" + path;
    }
    if (path != SERVICE_KEY && (path != PARAMETERS_KEY || g_values.empty())) {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    *key = NewHandle(Key{path});
    return STATUS_SUCCESS;
}

NTSTATUS ZwQueryValueKey(
    HANDLE key,
    UNICODE_STRING* name,
    KEY_VALUE_INFORMATION_CLASS,
    PVOID information,
    ULONG length,
    ULONG* resultLength)
{
    sim::RequireIrql("ZwQueryValueKey", PASSIVE_LEVEL);
    if (sim::Fails("ZwQueryValueKey")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const std::lock_guard guard(g_mutex);
    const auto opened = g_handles.find(key);
    if (opened == g_handles.end()) {
        return STATUS_INVALID_HANDLE;
    }
    const auto found = g_values.find(sim::ToString(*name));
    if (std::get<Key>(opened->second).Path != PARAMETERS_KEY || found == g_values.end()) {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    const Value& value = found->second;
    const std::size_t header = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data);
    *resultLength = static_cast<ULONG>(header + value.Data.size());
    if (length < header) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    auto* const answer = static_cast<KEY_VALUE_PARTIAL_INFORMATION*>(information);
    answer->TitleIndex = 0;
    answer->Type = value.Type;
    answer->DataLength = static_cast<ULONG>(value.Data.size());
    const std::size_t room = length - header;
    std::memcpy(answer->Data, value.Data.data(), value.Data.size() < room ? value.Data.size() : room);
    return value.Data.size() <= room ? STATUS_SUCCESS : STATUS_BUFFER_OVERFLOW;
}

NTSTATUS ObOpenObjectByPointer(
    PVOID object, ULONG attributes, PVOID, ACCESS_MASK access, PVOID, KPROCESSOR_MODE mode, HANDLE* handle)
{
    sim::RequireIrql("ObOpenObjectByPointer", PASSIVE_LEVEL);
    RequireKernelHandle("ObOpenObjectByPointer", attributes);
    if (sim::Fails("ObOpenObjectByPointer")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (!sim::IsDevice(object) || mode != KernelMode || access != WRITE_DAC) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION", "ObOpenObjectByPointer: only a device, to write its DACL");
    }
    const std::lock_guard guard(g_mutex);
    *handle = NewHandle(static_cast<DEVICE_OBJECT*>(object));
    return STATUS_SUCCESS;
}

NTSTATUS ZwSetSecurityObject(HANDLE handle, SECURITY_INFORMATION information, PVOID descriptor)
{
    sim::RequireIrql("ZwSetSecurityObject", PASSIVE_LEVEL);
    if (sim::Fails("ZwSetSecurityObject")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const std::lock_guard guard(g_mutex);
    const auto opened = g_handles.find(handle);
    if (opened == g_handles.end() || (information & DACL_SECURITY_INFORMATION) == 0) {
        return STATUS_INVALID_HANDLE;
    }
    const auto& given = *static_cast<SECURITY_DESCRIPTOR*>(descriptor);
    const bool isProtected =
        (information & PROTECTED_DACL_SECURITY_INFORMATION) != 0 && (given.Control & SE_DACL_PROTECTED) != 0;
    sim::SetDeviceSecurity(std::get<DEVICE_OBJECT*>(opened->second), given, isProtected);
    return STATUS_SUCCESS;
}

void sim_set_registry_dword(const char* name, std::uint32_t value)
{
    SetValue(name, REG_DWORD, &value, sizeof(value));
}

void sim_set_registry_string(const char* name, const char* value)
{
    const std::string narrow = value;
    const std::u16string wide(narrow.begin(), narrow.end());
    SetValue(name, REG_SZ, wide.c_str(), (wide.size() + 1) * sizeof(char16_t));
}

void sim_clear_registry()
{
    const std::lock_guard guard(g_mutex);
    g_values.clear();
}

} // extern "C"

void sim::ReportHandleLeaks(std::string& report)
{
    const std::lock_guard guard(g_mutex);
    if (!g_handles.empty()) {
        report += " " + std::to_string(g_handles.size()) + " handles;";
    }
}
