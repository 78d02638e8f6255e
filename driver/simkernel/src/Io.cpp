// The I/O manager: one driver, its devices and links, the handles that programs have, and their requests.
#include "SimKernel.h"
#include "Simulation.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

extern "C" DRIVER_INITIALIZE DriverEntry;

namespace {

struct Device : DEVICE_OBJECT {
    std::u16string Name;
    std::string Security;
};

struct File : FILE_OBJECT {
    ACCESS_MASK Access;
};

// What the driver's device must be like before a link leads to it: for SYSTEM and the Administrators alone.
constexpr const char* RESTRICTED = "D:P(A;;0x1f01ff;;;S-1-5-18)(A;;0x1f01ff;;;S-1-5-32-544)";
constexpr const char16_t* LINK_NAME = u"\\??\\kdetector";

std::recursive_mutex g_mutex;
DRIVER_OBJECT g_driver;
bool g_loaded = false;
bool g_unloadPending = false;
std::vector<std::unique_ptr<Device>> g_devices;
std::map<std::u16string, std::u16string> g_links;
std::map<std::uint32_t, std::shared_ptr<File>> g_files;
std::uint32_t g_nextFile = 4;
std::size_t g_openFiles = 0;

NTSTATUS InvalidRequest(DEVICE_OBJECT*, IRP* irp)
{
    irp->IoStatus = {STATUS_INVALID_DEVICE_REQUEST, 0};
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_INVALID_DEVICE_REQUEST;
}

// Calls the driver and holds it to the rules of requests.
IO_STATUS_BLOCK Send(DEVICE_OBJECT* device, IRP& irp, IO_STACK_LOCATION& stack)
{
    irp.CurrentStackLocation = &stack;
    const sim::Thread& thread = sim::CurrentThread();
    const sim::Impersonation impersonation(thread.ProcessId, thread.ThreadId, PASSIVE_LEVEL);
    const NTSTATUS status = g_driver.MajorFunction[stack.MajorFunction](device, &irp);
    if (!irp.Completed) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_IOMANAGER_VIOLATION", "request %u was not completed", stack.MajorFunction);
    }
    if (status != irp.IoStatus.Status) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
            "returned %08X, completed with %08X",
            status,
            irp.IoStatus.Status);
    }
    return irp.IoStatus;
}

void CheckLeaks(const char* when)
{
    std::string report;
    sim::ReportPoolLeaks(report);
    sim::ReportLookasideLeaks(report);
    sim::ReportLockLeaks(report);
    sim::ReportDeviceLeaks(report);
    sim::ReportHandleLeaks(report);
    sim::ReportNotificationLeaks(report);
    if (!report.empty()) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "%s left behind:%s", when, report.c_str());
    }
}

void UnloadNow()
{
    g_loaded = false;
    g_unloadPending = false;
    {
        const sim::Impersonation impersonation(4, 8, PASSIVE_LEVEL);
        g_driver.DriverUnload(&g_driver);
    }
    CheckLeaks("DriverUnload");
}

// Called when the last reference goes: the handle's, or that of a request under way through it.
void Close(File* file)
{
    const std::lock_guard guard(g_mutex);
    IRP irp{};
    IO_STACK_LOCATION stack{};
    stack.MajorFunction = IRP_MJ_CLOSE;
    stack.FileObject = file;
    Send(file->DeviceObject, irp, stack);
    delete file;
    if (--g_openFiles == 0 && g_unloadPending) {
        UnloadNow();
    }
}

std::shared_ptr<File> Reference(std::uint32_t handle)
{
    const std::lock_guard guard(g_mutex);
    const auto found = g_files.find(handle);
    return found != g_files.end() ? found->second : nullptr;
}

std::string SidText(const SID& sid)
{
    std::string text = "S-1-" + std::to_string(sid.IdentifierAuthority.Value[5]);
    for (UCHAR index = 0; index < sid.SubAuthorityCount; ++index) {
        // Not sid.SubAuthority[index]: the array is declared with one element.
        ULONG value;
        const auto* const bytes = reinterpret_cast<const UCHAR*>(&sid) + offsetof(SID, SubAuthority);
        std::memcpy(&value, bytes + index * sizeof(ULONG), sizeof(value));
        text += "-" + std::to_string(value);
    }
    return text;
}

Device* FindDevice(const std::u16string& name)
{
    for (const auto& device : g_devices) {
        if (device->Name == name) {
            return device.get();
        }
    }
    return nullptr;
}

} // namespace

bool sim::IsDevice(const void* object)
{
    const std::lock_guard guard(g_mutex);
    for (const auto& device : g_devices) {
        if (static_cast<DEVICE_OBJECT*>(device.get()) == object) {
            return true;
        }
    }
    return false;
}

void sim::SetDeviceSecurity(DEVICE_OBJECT* device, const SECURITY_DESCRIPTOR& descriptor, bool isProtected)
{
    std::string text = isProtected ? "D:P" : "D:";
    if ((descriptor.Control & SE_DACL_PRESENT) == 0 || descriptor.Dacl == nullptr) {
        text += "NO_ACCESS_CONTROL";
    } else {
        const auto* place = reinterpret_cast<const UCHAR*>(descriptor.Dacl + 1);
        for (USHORT index = 0; index < descriptor.Dacl->AceCount; ++index) {
            const auto& ace = *reinterpret_cast<const ACCESS_ALLOWED_ACE*>(place);
            char mask[16];
            std::snprintf(mask, sizeof(mask), "0x%x", ace.Mask);
            text += std::string("(") + (ace.Header.AceType == ACCESS_ALLOWED_ACE_TYPE ? "A" : "?") + ";;" +
                    mask + ";;;" + SidText(*reinterpret_cast<const SID*>(&ace.SidStart)) + ")";
            place += ace.Header.AceSize;
        }
    }
    static_cast<Device*>(device)->Security = text;
}

void sim::ReportDeviceLeaks(std::string& report)
{
    for (const auto& device : g_devices) {
        report += " device " + ToNarrow(device->Name) + ";";
    }
    for (const auto& [link, target] : g_links) {
        report += " link " + ToNarrow(link) + ";";
    }
}

extern "C" {

NTSTATUS IoCreateDevice(
    DRIVER_OBJECT*,
    ULONG,
    UNICODE_STRING* name,
    ULONG,
    ULONG characteristics,
    BOOLEAN,
    DEVICE_OBJECT** device)
{
    sim::RequireIrql("IoCreateDevice", APC_LEVEL);
    if (sim::Fails("IoCreateDevice")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    auto created = std::make_unique<Device>();
    created->Flags = 0;
    created->Characteristics = characteristics;
    created->Name = sim::ToString(*name);
    // What a device has by default lets everyone open it.
    created->Security = "D:(A;;0x1f01ff;;;S-1-1-0)";
    *device = created.get();
    g_devices.push_back(std::move(created));
    return STATUS_SUCCESS;
}

void IoDeleteDevice(DEVICE_OBJECT* device)
{
    sim::RequireIrql("IoDeleteDevice", APC_LEVEL);
    if (std::erase_if(g_devices, [device](const auto& each) { return each.get() == device; }) == 0) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "IoDeleteDevice of a device that is not there");
    }
}

NTSTATUS IoCreateSymbolicLink(UNICODE_STRING* link, UNICODE_STRING* target)
{
    sim::RequireIrql("IoCreateSymbolicLink", PASSIVE_LEVEL);
    if (sim::Fails("IoCreateSymbolicLink")) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    const Device* const device = FindDevice(sim::ToString(*target));
    if (device == nullptr) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "a link to a device that is not there");
    }
    if (device->Security != RESTRICTED || (device->Characteristics & FILE_DEVICE_SECURE_OPEN) == 0) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION",
            "a link to a device open to others: %s",
            device->Security.c_str());
    }
    g_links[sim::ToString(*link)] = sim::ToString(*target);
    return STATUS_SUCCESS;
}

NTSTATUS IoDeleteSymbolicLink(UNICODE_STRING* link)
{
    sim::RequireIrql("IoDeleteSymbolicLink", PASSIVE_LEVEL);
    if (g_links.erase(sim::ToString(*link)) == 0) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_DETECTED_VIOLATION", "IoDeleteSymbolicLink of a link that is not there");
    }
    return STATUS_SUCCESS;
}

void IoCompleteRequest(IRP* irp, CCHAR)
{
    if (irp->Completed) {
        sim::Bugcheck("MULTIPLE_IRP_COMPLETE_REQUESTS", "a request was completed twice");
    }
    irp->Completed = true;
}

std::int32_t sim_load()
{
    const std::lock_guard guard(g_mutex);
    if (g_loaded) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "the driver is loaded twice");
    }
    g_driver = {};
    for (DRIVER_DISPATCH*& routine : g_driver.MajorFunction) {
        routine = InvalidRequest;
    }
    // As the kernel gives it: without a terminating zero.
    std::u16string path = SIM_SERVICE_KEY;
    const auto length = static_cast<USHORT>(path.size() * sizeof(char16_t));
    UNICODE_STRING serviceKey = {length, length, reinterpret_cast<PWSTR>(path.data())};

    NTSTATUS status;
    {
        const sim::Impersonation impersonation(4, 8, PASSIVE_LEVEL);
        status = DriverEntry(&g_driver, &serviceKey);
    }
    g_loaded = NT_SUCCESS(status);
    if (!g_loaded) {
        CheckLeaks("a failed DriverEntry");
    }
    return status;
}

std::int32_t sim_unload()
{
    const std::lock_guard guard(g_mutex);
    if (!g_loaded) {
        return STATUS_NO_SUCH_DEVICE;
    }
    if (g_openFiles != 0) {
        g_unloadPending = true;
        return STATUS_PENDING;
    }
    UnloadNow();
    return STATUS_SUCCESS;
}

int sim_is_loaded()
{
    const std::lock_guard guard(g_mutex);
    return g_loaded;
}

std::int32_t sim_open(std::uint32_t access, std::uint32_t* handle)
{
    const std::lock_guard guard(g_mutex);
    const auto link = g_links.find(LINK_NAME);
    Device* const device = link != g_links.end() ? FindDevice(link->second) : nullptr;
    if (device == nullptr) {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    if (g_unloadPending) {
        return STATUS_NO_SUCH_DEVICE;
    }
    const ACCESS_MASK mapped =
        (access & GENERIC_READ) != 0 ? (access & ~GENERIC_READ) | FILE_GENERIC_READ : access;
    auto file = std::make_unique<File>();
    file->DeviceObject = device;
    file->Access = mapped;

    IRP irp{};
    IO_SECURITY_CONTEXT security = {mapped};
    IO_STACK_LOCATION stack{};
    stack.MajorFunction = IRP_MJ_CREATE;
    stack.FileObject = file.get();
    stack.Parameters.Create.SecurityContext = &security;
    const NTSTATUS status = Send(device, irp, stack).Status;
    // A file that was never opened is never closed.
    if (NT_SUCCESS(status)) {
        ++g_openFiles;
        *handle = g_nextFile;
        g_nextFile += 4;
        g_files.emplace(*handle, std::shared_ptr<File>(file.release(), Close));
    }
    return status;
}

std::int32_t sim_close(std::uint32_t handle)
{
    std::shared_ptr<File> file;
    {
        const std::lock_guard guard(g_mutex);
        const auto found = g_files.find(handle);
        if (found == g_files.end()) {
            return STATUS_INVALID_HANDLE;
        }
        file = std::move(found->second);
        g_files.erase(found);
    }
    IRP irp{};
    IO_STACK_LOCATION stack{};
    stack.MajorFunction = IRP_MJ_CLEANUP;
    stack.FileObject = file.get();
    Send(file->DeviceObject, irp, stack);
    return STATUS_SUCCESS;
}

std::int32_t sim_read(std::uint32_t handle, void* buffer, std::uint32_t length, std::uint32_t* returned)
{
    *returned = 0;
    const std::shared_ptr<File> file = Reference(handle);
    if (file == nullptr) {
        return STATUS_INVALID_HANDLE;
    }
    // Handles are checked for programs only.
    if (sim::CurrentThread().PreviousMode == UserMode && (file->Access & FILE_READ_DATA) == 0) {
        return STATUS_ACCESS_DENIED;
    }
    // Of the very size asked for, so that the sanitizers see a byte too many.
    std::vector<std::uint8_t> mapped(length);
    MDL mdl = {mapped.data(), length};
    IRP irp{};
    IO_STACK_LOCATION stack{};
    stack.MajorFunction = IRP_MJ_READ;
    stack.FileObject = file.get();
    stack.Parameters.Read.Length = length;
    // There is nothing to describe in a buffer of zero bytes, and nothing mapped without direct I/O.
    irp.MdlAddress = length != 0 && (file->DeviceObject->Flags & DO_DIRECT_IO) != 0 ? &mdl : nullptr;
    const IO_STATUS_BLOCK result = Send(file->DeviceObject, irp, stack);
    if (result.Information > length) {
        sim::Bugcheck("DRIVER_VERIFIER_IOMANAGER_VIOLATION", "a read of %u bytes returned more", length);
    }
    if (result.Information != 0) {
        std::memcpy(buffer, mapped.data(), result.Information);
    }
    *returned = static_cast<std::uint32_t>(result.Information);
    return result.Status;
}

std::int32_t sim_ioctl(
    std::uint32_t handle, std::uint32_t code, void* buffer, std::uint32_t length, std::uint32_t* returned)
{
    *returned = 0;
    const std::shared_ptr<File> file = Reference(handle);
    if (file == nullptr) {
        return STATUS_INVALID_HANDLE;
    }
    std::vector<std::uint8_t> system(length);
    IRP irp{};
    IO_STACK_LOCATION stack{};
    stack.MajorFunction = IRP_MJ_DEVICE_CONTROL;
    stack.FileObject = file.get();
    stack.Parameters.DeviceIoControl = {length, 0, code};
    irp.AssociatedIrp.SystemBuffer = length != 0 ? system.data() : nullptr;
    const IO_STATUS_BLOCK result = Send(file->DeviceObject, irp, stack);
    if (result.Information > length) {
        sim::Bugcheck(
            "DRIVER_VERIFIER_IOMANAGER_VIOLATION",
            "a control code with room for %u bytes returned more",
            length);
    }
    if (NT_SUCCESS(result.Status) && result.Information != 0) {
        std::memcpy(buffer, system.data(), result.Information);
    }
    *returned = static_cast<std::uint32_t>(result.Information);
    return result.Status;
}

std::size_t sim_device_security(char* buffer, std::size_t size)
{
    const std::lock_guard guard(g_mutex);
    return g_devices.empty() ? 0 : g_devices.front()->Security.copy(buffer, size);
}

} // extern "C"
