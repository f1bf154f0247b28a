#include <string>

#include "arguments.hpp"
#include "arrays.hpp"
#include "register.hpp"
#include "sep/bits.hpp"
#include "sep/encode.hpp"
#include "sep/errors.hpp"

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
    module.def(
        "encode", [](const Array<double>& prices, const py::object& price_step,
                     const py::object& encoding, const std::optional<Array<std::uint8_t>>& gap) {
            const Encoding rule = encoding_named(word("encoding", encoding));
            const double tick = number("tick", price_step);
            check_tick(tick);
            const auto gaps = view(gap);
            if (!gaps.empty() && gaps.size() != static_cast<std::size_t>(prices.size())) {
                throw InvalidArgument("gap must have one value per price, " +
                                      std::to_string(prices.size()) + ", had " +
                                      std::to_string(gaps.size()));
            }
            std::vector<std::uint8_t> bits;
            std::vector<std::uint8_t> joined;
            std::vector<std::int64_t> index;
            LastPrice last;
            std::int64_t k = 0;
            for (const double price : view(prices)) {
                const bool gap_here = !gaps.empty() && gaps[static_cast<std::size_t>(k)] != 0;
                const Step step = advance(last, rule, tick, price, gap_here, k);
                if (step.bit) {
                    bits.push_back(*step.bit);
                    joined.push_back(step.joined && !index.empty());
                    index.push_back(k);
                }
                ++k;
            }
            return py::make_tuple(copy<std::uint8_t>(bits), copy<std::int64_t>(index),
                                  copy<std::uint8_t>(joined));
        });
}

}  // namespace sep::bindings
