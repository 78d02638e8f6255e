#include "Activity.h"

#include <atomic>
#include <cstring>

#include "Client.h"

namespace simetw {

namespace {

struct ClientId {
    HANDLE Process;
    HANDLE Thread;
};

// Of ntdll, as Wine's kernelbase calls them.
using CreateProcessFunction = LONG WINAPI(
    HANDLE*, HANDLE*, ACCESS_MASK, ACCESS_MASK, void*, void*, ULONG, ULONG, void*, void*, void*);
using CreateThreadFunction = LONG WINAPI(
    HANDLE, SECURITY_DESCRIPTOR*, BOOLEAN, ULONG, SIZE_T, SIZE_T, void*, void*, HANDLE*, ClientId*);

CreateProcessFunction* g_createProcess;
CreateThreadFunction* g_createThread;
std::atomic<bool> g_hasSession = false;

std::uint64_t SizeOf(HMODULE module)
{
    const auto* const base = reinterpret_cast<const std::uint8_t*>(module);
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    return reinterpret_cast<const IMAGE_NT_HEADERS*>(base + dos->e_lfanew)->OptionalHeader.SizeOfImage;
}

void Tell(ActivityRequest request, HANDLE process)
{
    const DWORD error = GetLastError();
    const HMODULE program = GetModuleHandleW(nullptr);
    request.CreatorThreadId = GetCurrentThreadId();
    request.ImageBase = reinterpret_cast<std::uint64_t>(program);
    request.ImageSize = SizeOf(program);
    wchar_t image[NameLength] = L"";
    DWORD length = NameLength;
    QueryFullProcessImageNameW(process, PROCESS_NAME_NATIVE, image, &length);
    Bytes body;
    Append(body, request);
    const auto* const text = reinterpret_cast<const std::uint8_t*>(image);
    body.insert(body.end(), text, text + (std::wcslen(image) + 1) * sizeof(wchar_t));
    Bytes answer;
    Ask(Operation::Activity, body.data(), body.size(), answer);
    SetLastError(error);
}

bool IsTold()
{
    return g_hasSession && !IsDriver();
}

LONG WINAPI CreatedProcess(
    HANDLE* process,
    HANDLE* thread,
    ACCESS_MASK processAccess,
    ACCESS_MASK threadAccess,
    void* processAttributes,
    void* threadAttributes,
    ULONG processFlags,
    ULONG threadFlags,
    void* parameters,
    void* information,
    void* attributes)
{
    const LONG status = g_createProcess(
        process, thread, processAccess, threadAccess, processAttributes, threadAttributes, processFlags,
        threadFlags, parameters, information, attributes);
    if (status >= 0 && IsTold()) {
        ActivityRequest request{};
        request.Kind = ActivityKind::ProcessStart;
        request.ProcessId = GetProcessId(*process);
        request.ThreadId = GetThreadId(*thread);
        Tell(request, *process);
    }
    return status;
}

LONG WINAPI CreatedThread(
    HANDLE process,
    SECURITY_DESCRIPTOR* security,
    BOOLEAN suspended,
    ULONG zeroBits,
    SIZE_T reserve,
    SIZE_T commit,
    void* start,
    void* parameter,
    HANDLE* thread,
    ClientId* id)
{
    ClientId created{};
    const LONG status = g_createThread(
        process, security, suspended, zeroBits, reserve, commit, start, parameter, thread, &created);
    if (id != nullptr) {
        *id = created;
    }
    if (status >= 0 && IsTold()) {
        ActivityRequest request{};
        request.Kind = ActivityKind::ThreadStart;
        request.ProcessId = GetProcessId(process);
        request.ThreadId = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(created.Thread));
        request.StartAddress = reinterpret_cast<std::uint64_t>(start);
        Tell(request, process);
    }
    return status;
}

// Puts a function in the place of one that a module imports from ntdll.
template <typename T> void Intercept(HMODULE module, const char* name, T* function, T*& original)
{
    auto* const base = reinterpret_cast<std::uint8_t*>(module);
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    const auto& directory = reinterpret_cast<const IMAGE_NT_HEADERS*>(base + dos->e_lfanew)
                                ->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    auto* library = reinterpret_cast<const IMAGE_IMPORT_DESCRIPTOR*>(base + directory.VirtualAddress);
    for (; library->Name != 0; ++library) {
        if (_stricmp(reinterpret_cast<const char*>(base + library->Name), "ntdll.dll") != 0) {
            continue;
        }
        auto* names = reinterpret_cast<const IMAGE_THUNK_DATA*>(base + library->OriginalFirstThunk);
        auto* addresses = reinterpret_cast<IMAGE_THUNK_DATA*>(base + library->FirstThunk);
        for (; names->u1.AddressOfData != 0; ++names, ++addresses) {
            if (IMAGE_SNAP_BY_ORDINAL(names->u1.Ordinal)) {
                continue;
            }
            const auto* const import =
                reinterpret_cast<const IMAGE_IMPORT_BY_NAME*>(base + names->u1.AddressOfData);
            if (std::strcmp(reinterpret_cast<const char*>(import->Name), name) != 0) {
                continue;
            }
            DWORD protection = 0;
            if (!VirtualProtect(addresses, sizeof *addresses, PAGE_READWRITE, &protection)) {
                return;
            }
            original = reinterpret_cast<T*>(addresses->u1.Function);
            addresses->u1.Function = reinterpret_cast<std::uint64_t>(function);
            VirtualProtect(addresses, sizeof *addresses, protection, &protection);
            return;
        }
    }
}

} // namespace

void WatchActivity()
{
    const HMODULE kernel = GetModuleHandleW(L"kernelbase.dll");
    Intercept(kernel, "NtCreateUserProcess", CreatedProcess, g_createProcess);
    Intercept(kernel, "RtlCreateUserThread", CreatedThread, g_createThread);
}

void NoteOwnSession(bool systemLogger)
{
    g_hasSession = true;
    if (systemLogger) {
        ListMyself(ActivityKind::SystemLogger);
    }
}

void ListMyself(ActivityKind kind)
{
    if (IsTold()) {
        ActivityRequest request{};
        request.Kind = kind;
        request.ProcessId = GetCurrentProcessId();
        request.ThreadId = GetCurrentThreadId();
        Tell(request, GetCurrentProcess());
    }
}

} // namespace simetw
