// Taking the place of a kernel routine.
//
// A call of a kernel routine goes through a pointer, __imp_<name>, which the loader fills in. When an object
// file defines that pointer itself, the linker takes it, and the image imports nothing for it.
#pragma once

#include <ntifs.h>

#define KDW_REPLACES(Routine, Replacement) \
    extern "C" { \
    __attribute__((used)) decltype(&Routine) __imp_##Routine = Replacement; \
    } \
    static_assert(true)
