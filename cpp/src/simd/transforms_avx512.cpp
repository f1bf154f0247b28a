#define SEP_TRANSFORMS transforms_avx512
#include "transforms.inc"
