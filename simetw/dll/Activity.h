// Tells the machine what this program does itself: the processes and threads that it creates.
#pragma once

#include "Protocol.h"

namespace simetw {

// Has Wine's kernelbase call here where it creates a process or a thread. Windows' own creates threads another way.
void WatchActivity();

// This program started a session; from now on there is somebody to tell.
void NoteOwnSession(bool systemLogger);

// Lists this program, as a rundown does.
void ListMyself(ActivityKind kind);

} // namespace simetw
