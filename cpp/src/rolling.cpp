#include "backends.hpp"
#include "window_tables.hpp"

namespace sep::scalar {
namespace {

class Rolling final : public RollingBackend {
public:
    explicit Rolling(const WindowSpec& spec)
        : spec_(spec), tables_(spec.window, spec.groups & group_path) {}

    void run(const Chunk& chunk, const RollingOutputs& out) override {
        const TableView view = view_of(tables(), tables_);
        std::uint64_t bits = chunk.bits_before;  // in the series up to price k
        WindowMetrics metrics = no_metrics();
        bool complete = false;
        std::uint64_t computed = ~std::uint64_t{0};  // for how many bits `metrics` are
        std::size_t i = 0;
        for (std::uint64_t k = 0; k < chunk.prices; ++k) {
            bits += chunk.emitted[k / 64] >> (k % 64) & 1;
            if ((chunk.prices_before + k) % chunk.stride != 0) continue;
            if (bits != computed) {
                metrics = window_metrics(chunk.bits.before(bits), chunk.joined.before(bits),
                                         chunk.errors.before(bits), bits, spec_, view, complete);
                computed = bits;
            }
            const MetricValues values = values_of(metrics);
            for (int m = 0; m < window_metric_count; ++m) {
                if (out.metrics[m]) out.metrics[m].store(i, values.value[m]);
            }
            if (out.flat_ratio) {
                const std::uint64_t price = chunk.prices_before + k;
                const BitsBefore flat = chunk.flat.before(price + 1);
                out.flat_ratio.store(i, flat_ratio(flat, price, spec_.window));
            }
            if (out.complete != nullptr) out.complete[i] = complete;
            ++i;
        }
    }

private:
    WindowSpec spec_;
    WindowTables tables_;
};

}  // namespace

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec) {
    return std::make_unique<Rolling>(spec);
}

}  // namespace sep::scalar
