#include "Simulation.h"

extern "C" PVOID MmGetSystemAddressForMdlSafe(MDL* mdl, ULONG priority)
{
    sim::RequireIrql("MmGetSystemAddressForMdlSafe", DISPATCH_LEVEL);
    if (mdl == nullptr) {
        sim::Bugcheck("SYSTEM_SERVICE_EXCEPTION", "MmGetSystemAddressForMdlSafe without an MDL");
    }
    if ((priority & MdlMappingNoExecute) == 0) {
        sim::Bugcheck("DRIVER_VERIFIER_DETECTED_VIOLATION", "an executable mapping");
    }
    return sim::Fails("MmGetSystemAddressForMdlSafe") ? nullptr : mdl->Buffer;
}
