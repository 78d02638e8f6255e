// A stand-in for the WDK's header: what KDetector uses of the kernel, one file for each prefix. Structures
// hold what a driver may touch; where the real one has insides, this one has the simulation's.
#pragma once

#include "sim/Types.h"
#include "sim/Status.h"
#include "sim/Rtl.h"
#include "sim/Ke.h"
#include "sim/Ex.h"
#include "sim/Mm.h"
#include "sim/Io.h"
#include "sim/Ob.h"
#include "sim/Ps.h"
#include "sim/Zw.h"
#include "sim/Dbg.h"
