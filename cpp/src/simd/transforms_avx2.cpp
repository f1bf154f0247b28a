#define SEP_TRANSFORMS transforms_avx2
#include "transforms.inc"
