#include "Client.h"

#include <atomic>
#include <string>

namespace simetw {

namespace {

constexpr DWORD PatienceMs = 15'000;
constexpr DWORD PauseMs = 10;

HMODULE g_module;
SRWLOCK g_lock = SRWLOCK_INIT;
std::atomic<bool> g_driver = false;

Pipe& Shared()
{
    static Pipe* const pipe =
        new Pipe; // never destroyed: threads may still be using it when the process ends
    return *pipe;
}

// The kernel's program stands beside this library.
std::wstring KernelCommand()
{
    wchar_t path[MAX_PATH];
    const DWORD length = GetModuleFileNameW(g_module, path, MAX_PATH);
    std::wstring folder(path, length);
    folder.resize(folder.find_last_of(L'\\') + 1);
    return L"\"" + folder + L"simetw-kernel.exe\"";
}

// A service, because a process that a program starts holds on to that program's standard error under Wine.
void StartKernel()
{
    const SC_HANDLE manager =
        OpenSCManagerW(nullptr, nullptr, SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE);
    const std::wstring command = KernelCommand();
    SC_HANDLE service = CreateServiceW(
        manager,
        ServiceName,
        ServiceName,
        SERVICE_ALL_ACCESS,
        SERVICE_WIN32_OWN_PROCESS,
        SERVICE_DEMAND_START,
        SERVICE_ERROR_NORMAL,
        command.c_str(),
        nullptr,
        nullptr,
        nullptr,
        nullptr,
        nullptr);
    if (service == nullptr) {
        service = OpenServiceW(manager, ServiceName, SERVICE_ALL_ACCESS);
        ChangeServiceConfigW(
            service,
            SERVICE_NO_CHANGE,
            SERVICE_NO_CHANGE,
            SERVICE_NO_CHANGE,
            command.c_str(),
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            nullptr);
    }
    StartServiceW(service, 0, nullptr);
    CloseServiceHandle(service);
    CloseServiceHandle(manager);
}

HANDLE OpenPipe()
{
    return CreateFileW(PipeName, GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_EXISTING, 0, nullptr);
}

} // namespace

void SetDriver()
{
    g_driver = true;
}

bool IsDriver()
{
    return g_driver;
}

void SetModule(HMODULE module)
{
    g_module = module;
}

Pipe Connect()
{
    HANDLE handle = OpenPipe();
    bool started = false;
    for (DWORD waited = 0; handle == INVALID_HANDLE_VALUE && waited < PatienceMs; waited += PauseMs) {
        if (GetLastError() == ERROR_FILE_NOT_FOUND && !started) {
            StartKernel();
            started = true;
        }
        Sleep(PauseMs);
        handle = OpenPipe();
    }
    Pipe pipe(handle);
    wchar_t machine[NameLength] = L"";
    GetEnvironmentVariableW(MachineVariable, machine, NameLength);
    Bytes hello;
    Append(hello, HelloRequest{GetCurrentProcessId()});
    const auto* const name = reinterpret_cast<const std::uint8_t*>(machine);
    hello.insert(hello.end(), name, name + (std::wcslen(machine) + 1) * sizeof(wchar_t));
    Bytes answer;
    std::uint32_t error = 0;
    if (pipe.IsOpen() &&
        !(pipe.Send(static_cast<std::uint32_t>(Operation::Hello), hello.data(), hello.size()) &&
          pipe.Receive(error, answer))) {
        pipe.Close();
    }
    return pipe;
}

std::uint32_t AskOver(Pipe& pipe, Operation operation, const void* body, std::size_t size, Bytes& answer)
{
    std::uint32_t error = ERROR_PIPE_NOT_CONNECTED;
    if (!pipe.IsOpen() || !pipe.Send(static_cast<std::uint32_t>(operation), body, size) ||
        !pipe.Receive(error, answer)) {
        pipe.Close();
        return ERROR_PIPE_NOT_CONNECTED;
    }
    return error;
}

std::uint32_t Ask(Operation operation, const void* body, std::size_t size, Bytes& answer)
{
    AcquireSRWLockExclusive(&g_lock);
    if (!Shared().IsOpen()) {
        Shared() = Connect();
    }
    const std::uint32_t error = AskOver(Shared(), operation, body, size, answer);
    ReleaseSRWLockExclusive(&g_lock);
    return error;
}

} // namespace simetw
