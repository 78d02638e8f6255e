// The way to the simulated machine.
#pragma once

#include "Pipe.h"

namespace simetw {

// Where this library is.
void SetModule(HMODULE module);

// A new connection, for what takes long; not open when there is none to be had.
Pipe Connect();

// Whether this program tells the machine what to do, as a test does: its own activity is not logged.
void SetDriver();
bool IsDriver();

// A request over the connection that all threads of this process share.
std::uint32_t Ask(Operation operation, const void* body, std::size_t size, Bytes& answer);

// A request over a connection of one's own.
std::uint32_t AskOver(Pipe& pipe, Operation operation, const void* body, std::size_t size, Bytes& answer);

} // namespace simetw
