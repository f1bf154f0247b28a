#define SEP_STRETCHES stretches_avx2
#include "stretches.inc"
