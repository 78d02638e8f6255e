// The device through which programs read, and its name in the DOS name space.
#pragma once

#include "Kernel.h"

class Device final {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    _IRQL_requires_max_(PASSIVE_LEVEL)
    ~Device();

    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Create(DRIVER_OBJECT* driver);

    // Leaves it to SYSTEM and the Administrators.
    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS RestrictAccess();

private:
    DEVICE_OBJECT* m_device = nullptr;
};

class SymbolicLink final {
public:
    SymbolicLink() = default;
    SymbolicLink(const SymbolicLink&) = delete;
    SymbolicLink& operator=(const SymbolicLink&) = delete;
    _IRQL_requires_max_(PASSIVE_LEVEL)
    ~SymbolicLink();

    _IRQL_requires_max_(PASSIVE_LEVEL)
    _Must_inspect_result_
    NTSTATUS Create();

private:
    bool m_created = false;
};
