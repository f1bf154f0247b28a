#include <algorithm>
#include <memory>
#include <utility>

#include "arrays.hpp"
#include "register.hpp"
#include "sep/errors.hpp"
#include "sep/iaaft.hpp"

namespace sep::bindings {

void register_iaaft(py::module_& module) {
    py::class_<Iaaft>(module, "Iaaft")
        .def(py::init([](const Array<double>& series) {
            const auto values = view(series);
            const py::gil_scoped_release release;
            return std::make_unique<Iaaft>(values);
        }))
        .def("order",
             [](const Iaaft& of, std::uint64_t seed, std::uint64_t index, int rounds_max) {
                 IaaftOrder made;
                 {
                     const py::gil_scoped_release release;
                     made = of.order(seed, index, rounds_max);
                 }
                 return std::pair(copy<std::int32_t>(made.order), made.rounds);
             })
        .def("orders_on_gpu", [](const Iaaft& of, std::uint64_t seed, std::uint64_t first,
                                 std::size_t count, int rounds_max) {
            std::vector<IaaftOrder> made;
            {
                const py::gil_scoped_release release;
                made = of.orders_on_gpu(seed, first, count, rounds_max);
            }
            const std::size_t size = of.series().size();
            Array<std::int32_t> orders(
                {static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(size)});
            std::vector<int> rounds;
            for (std::size_t i = 0; i < count; ++i) {
                std::ranges::copy(made[i].order, orders.mutable_data() + i * size);
                rounds.push_back(made[i].rounds);
            }
            return std::pair(std::move(orders), std::move(rounds));
        });
}

}  // namespace sep::bindings
