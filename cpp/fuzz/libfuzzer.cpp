// libFuzzer's entry; SEP_FUZZ_TARGET names a function of input.hpp.
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    sep::fuzz::SEP_FUZZ_TARGET({data, size});
    return 0;
}
