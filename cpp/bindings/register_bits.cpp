#include "arrays.hpp"
#include "register.hpp"
#include "sep/bits.hpp"
#include "sep/encode.hpp"

namespace sep::bindings {

void register_bits(py::module_& module) {
    module.def("pack", [](const Array<std::uint8_t>& bits) {
        return copy<std::uint64_t>(pack(view(bits)));
    });
    module.def("unpack", [](const Array<std::uint64_t>& words, std::size_t size) {
        std::vector<std::uint8_t> bits(size);
        unpack(view(words), bits);
        return copy<std::uint8_t>(bits);
    });
    module.def("encode", [](const Array<double>& prices, double tick, std::string_view encoding,
                            const std::optional<Array<std::uint8_t>>& gap) {
        const Encoded encoded = encode(view(prices), tick, encoding_named(encoding), view(gap));
        const std::size_t size = encoded.series.size;
        std::vector<std::uint8_t> bits(size);
        std::vector<std::uint8_t> joined(size);
        std::vector<std::int64_t> index;
        unpack(encoded.series.bits, bits);
        unpack(encoded.series.joined, joined);
        for (std::size_t k = 0; k < encoded.prices; ++k) {
            if (bit_at(encoded.emitted, k)) index.push_back(static_cast<std::int64_t>(k));
        }
        return py::make_tuple(copy<std::uint8_t>(bits), copy<std::int64_t>(index),
                              copy<std::uint8_t>(joined));
    });
}

}  // namespace sep::bindings
