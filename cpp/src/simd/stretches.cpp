#define SEP_STRETCHES stretches_portable
#include "stretches.inc"

#include "../backends.hpp"

namespace sep::simd {

const StretchKernels& stretch_kernels() {
#ifdef SEP_X86_KERNELS
    if (name_of(kernels()) != "portable") return stretches_avx2;
#endif
    return stretches_portable;
}

}  // namespace sep::simd
