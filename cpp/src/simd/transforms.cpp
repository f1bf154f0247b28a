#define SEP_TRANSFORMS transforms_portable
#include "transforms.inc"

#include "../backends.hpp"

namespace sep::simd {

const TransformKernels& transform_kernels() {
#ifdef SEP_X86_KERNELS
    const std::string_view name = name_of(kernels());
    if (name == "AVX-512") return transforms_avx512;
    if (name != "portable") return transforms_avx2;
#endif
    return transforms_portable;
}

}  // namespace sep::simd
