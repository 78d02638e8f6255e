// The access that a program opens a device with. Windows puts it into the create request; Wine leaves
// Parameters.Create.SecurityContext null, which KDetector, as it may, does not expect.
#pragma once

#include <ntifs.h>

// Returns the access of the handle that Wine makes of *file* for the time of the create request.
ACCESS_MASK FindCallerAccess(FILE_OBJECT* file);
