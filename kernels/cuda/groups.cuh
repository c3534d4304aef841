// Positions and keys of the grouping in groups.cu: 32 bits where the host has found that they are enough.
#pragma once
#include "prelude.cuh"

#ifdef LONG_INDEX
typedef u64 Place;
#else
typedef u32 Place;
#endif
