// Whether the program is elevated: as the machine says, not as Wine, where everybody is.
#include "Api.h"

namespace simetw {

namespace {

using GetTokenInformationFunction = BOOL WINAPI(HANDLE, int, void*, DWORD, DWORD*);

GetTokenInformationFunction* g_original;

} // namespace

void FindOriginals()
{
    g_original = reinterpret_cast<GetTokenInformationFunction*>(
        reinterpret_cast<void*>(GetProcAddress(LoadLibraryW(L"kernelbase.dll"), "GetTokenInformation")));
}

BOOL WINAPI TokenInformation(HANDLE token, int what, void* answer, DWORD size, DWORD* returned)
{
    const BOOL done = g_original(token, what, answer, size, returned);
    if (done && what == TokenElevation && CurrentMachine().Elevated == 0) {
        static_cast<TOKEN_ELEVATION*>(answer)->TokenIsElevated = 0;
    }
    return done;
}

} // namespace simetw
