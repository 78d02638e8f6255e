// simetw.dll: once it is loaded, the functions of event tracing are those of the simulated machine.
#include "Activity.h"
#include "Client.h"
#include "Exports.h"

namespace simetw {

namespace {

const std::vector<Replacement>& Tracing()
{
    static const std::vector<Replacement> all = {
        Replace("StartTraceW", StartSession),
        Replace("ControlTraceW", ControlSession),
        Replace("QueryTraceW", QuerySession),
        Replace("StopTraceW", StopSession),
        Replace("UpdateTraceW", UpdateSession),
        Replace("FlushTraceW", FlushSession),
        Replace("QueryAllTracesW", QueryAllSessions),
        Replace("EnableTraceEx2", EnableProvider),
        Replace("EnumerateTraceGuidsEx", EnumerateGuids),
        Replace("TraceSetInformation", SetInformation),
        Replace("TraceQueryInformation", QueryInformation),
        Replace("OpenTraceW", OpenConsumer),
        Replace("ProcessTrace", ProcessConsumer),
        Replace("CloseTrace", CloseConsumer),
        Replace("GetTokenInformation", TokenInformation),
    };
    return all;
}

const std::vector<Replacement>& Decoding()
{
    static const std::vector<Replacement> all = {
        Replace("TdhEnumerateProviders", EnumerateProviders),
        Replace("TdhEnumerateManifestProviderEvents", EnumerateProviderEvents),
        Replace("TdhEnumerateProviderFieldInformation", EnumerateProviderFields),
        Replace("TdhGetEventInformation", GetEventInformation),
        Replace("TdhGetPropertySize", GetPropertySize),
        Replace("TdhGetProperty", GetProperty),
        Replace("TdhGetEventMapInformation", GetEventMapInformation),
        Replace("TdhFormatProperty", FormatProperty),
    };
    return all;
}

bool TakeOver(const wchar_t* module, const std::vector<Replacement>& replacements)
{
    const HMODULE loaded = LoadLibraryW(module); // and never let go of
    return loaded != nullptr && ReplaceExports(loaded, replacements);
}

} // namespace

} // namespace simetw

// Called once, when the library is loaded: not in DllMain, which may load no other.
extern "C" __declspec(dllexport) int sim_take_over()
{
    using namespace simetw;
    FindOriginals();
    WatchActivity();
    return TakeOver(L"advapi32.dll", Tracing()) && TakeOver(L"sechost.dll", Tracing()) &&
           TakeOver(L"tdh.dll", Decoding());
}

extern "C" BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, void*)
{
    if (reason == DLL_PROCESS_ATTACH) {
        DisableThreadLibraryCalls(instance);
        simetw::SetModule(instance);
    }
    return TRUE;
}
