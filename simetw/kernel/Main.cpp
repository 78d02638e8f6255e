// The service that stands for the kernel: it outlives the programs that start sessions.
#include <exception>

#include "Connection.h"

namespace simetw {

namespace {

SERVICE_STATUS_HANDLE g_status;

void Report(DWORD state)
{
    SERVICE_STATUS status{};
    status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
    status.dwCurrentState = state;
    status.dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN : 0;
    SetServiceStatus(g_status, &status);
}

DWORD WINAPI Handle(DWORD control, DWORD, void*, void*)
{
    if (control == SERVICE_CONTROL_STOP || control == SERVICE_CONTROL_SHUTDOWN) {
        Report(SERVICE_STOPPED);
        ExitProcess(0);
    }
    return control == SERVICE_CONTROL_INTERROGATE ? NO_ERROR : ERROR_CALL_NOT_IMPLEMENTED;
}

DWORD WINAPI ServeConnection(void* pipe)
{
    Connection(pipe).Serve();
    return 0;
}

HANDLE NewPipe()
{
    constexpr DWORD bufferSize = 1u << 20;
    return CreateNamedPipeW(
        PipeName,
        PIPE_ACCESS_DUPLEX,
        PIPE_TYPE_BYTE | PIPE_WAIT,
        PIPE_UNLIMITED_INSTANCES,
        bufferSize,
        bufferSize,
        0,
        nullptr);
}

void WINAPI Run(DWORD, LPWSTR*)
{
    g_status = RegisterServiceCtrlHandlerExW(ServiceName, Handle, nullptr);
    HANDLE pipe = NewPipe();
    Report(SERVICE_RUNNING);
    while (pipe != INVALID_HANDLE_VALUE) {
        if (ConnectNamedPipe(pipe, nullptr) || GetLastError() == ERROR_PIPE_CONNECTED) {
            // The next one is there before this one is served: who connects is never refused for long.
            const HANDLE connected = pipe;
            pipe = NewPipe();
            CloseHandle(CreateThread(nullptr, 0, ServeConnection, connected, 0, nullptr));
        } else {
            CloseHandle(pipe);
            pipe = NewPipe();
        }
    }
    Report(SERVICE_STOPPED);
}

} // namespace

} // namespace simetw

int main()
{
    SERVICE_TABLE_ENTRYW table[] = {
        {const_cast<wchar_t*>(simetw::ServiceName), simetw::Run}, {nullptr, nullptr}};
    return StartServiceCtrlDispatcherW(table) ? 0 : 1;
}
