#pragma once

// Code that CPU and GPU share is written once; the compilers never contract a * b + c.
#ifdef __CUDACC__
#define SEP_HOST_DEVICE __host__ __device__
#else
#define SEP_HOST_DEVICE
#endif
