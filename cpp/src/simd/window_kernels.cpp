#include "window_kernels.hpp"

namespace sep::simd {
WindowKernels::WindowKernels(const WindowSpec& spec, const Kernels& kernels,
                             const WindowTables& tables)
    : window_(spec.window), templates_(tables.templates.data()), kernels_(kernels) {
    const int total = window_ - 1;
    for (int n = -total; n <= total; ++n) shares_.push_back(n / static_cast<double>(total));
    for (std::size_t key = 0; key < key_count; ++key) {
        const std::uint8_t number = sep::tables().row_of[key];
        const DampedRow& row = sep::tables().rows[number];
        const DampedSpan& span = tables.spans[number];
        lambda_of_[key] = row.lambda;
        lambda_single_of_[key] = static_cast<float>(row.lambda);
        const bool path = !tables.decays_first.empty();
        damped_of_[key] = {row.decay4,
                           row.decay8,
                           row.nibble_sum,
                           row.byte_sum,
                           span.all_ones,
                           span.terms,
                           path ? &tables.decays[tables.decays_first[number]] : nullptr};
    }
}

KernelTables WindowKernels::tables_for(std::uint64_t windows, bool single) {
    const Tables& t = sep::tables();
    KernelTables made{
        window_,           t.g.data(), (window_ - 1) * t.log2_3, shares_.data() + (window_ - 1),
        nullptr,           nullptr,    lambda_of_.data(),        lambda_single_of_.data(),
        damped_of_.data(), templates_};
    // A record costs two to three windows, and there are at most three quarters of window^2.
    const auto enough =
        2 * static_cast<std::uint64_t>(window_) * static_cast<std::uint64_t>(window_);
    if (window_ > record_window_max || (windows_ += windows) < enough) return made;
    if (single) {
        std::call_once(single_made_, [this] { records_single_ = make_records<float>(); });
        made.records_single = records_single_.get();
    } else {
        std::call_once(wide_made_, [this] { records_ = make_records<double>(); });
        made.records = records_.get();
    }
    return made;
}

template <class T>
AlignedArray<T> WindowKernels::make_records() const {
    const int pairs = window_ - 1;
    const std::size_t size = static_cast<std::size_t>(2 * count_columns) * window_ * window_;
    AlignedArray<T> records(
        static_cast<T*>(::operator new(size * sizeof(T), FreeAligned::alignment)));
    TableView view{};
    view.g = sep::tables().g.data();
    view.log2_3 = sep::tables().log2_3;
    for (int flips = 0; flips <= pairs; ++flips) {
        for (int n11 = 0; flips + n11 <= pairs; ++n11) {
            for (int up = 0; up <= flips % 2; ++up) {
                const int n01 = (flips + up) / 2;
                WindowMetrics m = no_metrics();
                set_count_metrics(m, {pairs - flips - n11, n01, flips - n01, n11}, pairs, view);
                const MetricValues values = values_of(m);
                const std::size_t record =
                    static_cast<std::size_t>((flips * window_ + n11) * 2 + up);
                for (std::size_t i = 0; i < count_columns; ++i) {
                    records[record * count_columns + i] = static_cast<T>(values.value[i]);
                }
            }
        }
    }
    return records;
}

}  // namespace sep::simd
