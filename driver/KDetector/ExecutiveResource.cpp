#include "ExecutiveResource.h"

_Use_decl_annotations_
ExecutiveResource::~ExecutiveResource()
{
    if (m_initialized) {
        ExDeleteResourceLite(&m_resource);
    }
}

_Use_decl_annotations_
NTSTATUS ExecutiveResource::Initialize()
{
    const NTSTATUS status = ExInitializeResourceLite(&m_resource);
    m_initialized = NT_SUCCESS(status);
    return status;
}

// A thread that holds a resource must not be suspended, so normal kernel APCs have to stay away until it is
// released. Where the caller has seen to that already (the process notification always has), entering
// another critical region would be wasted; everywhere else acquiring and entering are one call.

_Use_decl_annotations_
ExecutiveResource::Held ExecutiveResource::Lock()
{
    if (KeAreApcsDisabled()) {
        ExAcquireResourceExclusiveLite(&m_resource, TRUE);
        return {false};
    }
    ExEnterCriticalRegionAndAcquireResourceExclusive(&m_resource);
    return {true};
}

_Use_decl_annotations_
ExecutiveResource::Held ExecutiveResource::LockShared()
{
    if (KeAreApcsDisabled()) {
        ExAcquireResourceSharedLite(&m_resource, TRUE);
        return {false};
    }
    ExEnterCriticalRegionAndAcquireResourceShared(&m_resource);
    return {true};
}

_Use_decl_annotations_
void ExecutiveResource::Unlock(Held held)
{
    if (held.EnteredCriticalRegion) {
        ExReleaseResourceAndLeaveCriticalRegion(&m_resource);
    } else {
        ExReleaseResourceLite(&m_resource);
    }
}
