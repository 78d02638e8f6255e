// The simulated machine for test programs, through ctypes. Each returns Windows' error; Protocol.h has the
// structures. All may be called from any thread.
#pragma once

#include "Protocol.h"

extern "C" {
// Replaces what advapi32, sechost and tdh export. 1 when that was possible.
__declspec(dllexport) int sim_take_over();
// This program gives orders from now on: what it does itself is not logged. Every order says so, too.
__declspec(dllexport) std::uint32_t sim_drive();

// As new: no session, no order, every setting at its default.
__declspec(dllexport) std::uint32_t sim_reset();
__declspec(dllexport) std::uint32_t sim_set(std::uint32_t setting, std::uint64_t value);
__declspec(dllexport) std::uint32_t sim_fail(std::uint32_t call, std::uint32_t error, std::uint32_t times);

// Packed SimEvents.
__declspec(dllexport) std::uint32_t sim_log(const void* events, std::size_t size);
__declspec(dllexport) std::uint32_t
    sim_set_rundown(std::uint32_t which, const void* events, std::size_t size);
// A RepeatRequest with all that follows it; returns when the last event is logged.
__declspec(dllexport) std::uint32_t sim_repeat(const void* request, std::size_t size);

// SessionStates of all sessions, for at most so many; the count is of those there are.
__declspec(dllexport) std::uint32_t
    sim_list(simetw::SessionState* states, std::uint32_t room, std::uint32_t* count);
// As another program would.
__declspec(dllexport) std::uint32_t sim_stop_session(const wchar_t* name);
__declspec(dllexport) std::uint32_t sim_disable_provider(const wchar_t* session, const GUID* provider);
}
