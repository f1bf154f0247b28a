#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sep/tables.hpp"
#include "tile.hpp"

namespace sep::cuda {

/// What TileView points to, for one window length of at least tile_window_min bits.
struct TileTables {
    int window;
    int chunks;  ///< of the tail of a damped sum
    std::vector<TileCount> counts;
    std::vector<double> g_changed;
    std::vector<double> g_after;
    std::vector<TileRow> rows;
    std::vector<TileTail> tails;
    std::vector<float> chunk_sums;
    std::vector<double> ones_all;  ///< by row: DampedSpan::all_ones

    /// @param spans  of WindowTables for this window.
    TileTables(int window_bits, const std::vector<DampedSpan>& spans)
        : window(window_bits),
          chunks(window_bits <= exact_terms + chunk_bits * chunks_short ? chunks_short
                                                                        : chunks_long),
          rows(lambda_bits * lambda_bits),
          tails(lambda_bits * lambda_bits),
          ones_all(lambda_bits * lambda_bits) {
        const Tables& t = tables();
        const int transitions = window - 1;
        const double total = transitions;
        for (int n = 0; n < window; ++n) {
            counts.push_back(
                {t.g[n], static_cast<float>(n / total), static_cast<float>(1.0 - n / total)});
            g_changed.push_back(t.g[n / 2] + t.g[n - n / 2]);
            g_after.push_back(t.g[transitions - n] + t.g[n]);
        }
        for (int flips = 0; flips < lambda_bits; ++flips) {
            for (int n11 = 0; n11 + flips < lambda_bits; ++n11) {
                if (flips == 0 && n11 > 0) continue;
                const int i = lambda_bits * flips + n11;
                set_row(i, t.row_of[i], t.rows[t.row_of[i]].lambda);
                ones_all[i] = spans[t.row_of[i]].all_ones;
            }
        }
        for (const DampedRow& row : t.rows) {
            std::array<double, chunk_bits> weights;
            for (int k = 0; k < chunk_bits; ++k) weights[k] = std::exp(-row.lambda * k);
            for (int chunk = 0; chunk < chunk_values; ++chunk) {
                double sum = 0.0;
                for (int k = 0; k < chunk_bits; ++k) {
                    sum += chunk >> (chunk_bits - 1 - k) & 1 ? -weights[k] : weights[k];
                }
                chunk_sums.push_back(static_cast<float>(sum));
            }
        }
    }

    /// The view of these vectors. A kernel puts pointers to its own copy in their place.
    TileView view() const {
        TileView v{};
        v.window = window;
        v.transitions = window - 1;
        v.transitions_reciprocal = 1.0 / v.transitions;
        v.entropy_scale = (window - 1) * tables().log2_3;
        v.entropy_reciprocal = 1.0 / v.entropy_scale;
        v.g_all = counts[static_cast<std::size_t>(window) - 1].g;
        for (int i = 0; i < 3; ++i) {
            const int left = terms() - 32 * i;
            v.kept[i] = left >= 32 ? ~0U : left <= 0 ? 0U : ~0U << (32 - left);
        }
        v.counts = counts.data();
        v.g_changed = g_changed.data();
        v.g_after = g_after.data();
        v.rows = rows.data();
        v.tails = tails.data();
        v.chunk_sums = chunk_sums.data();
        return v;
    }

private:
    /// Terms of the damped sum that are added; the window may have more.
    int terms() const { return window < terms_long ? window : terms_long; }

    void set_row(int i, int row, double lambda) {
        const double decay = std::exp(-lambda);
        const double s = 1.0 / (1.0 - decay);  // bounds every sum of weights
        const double left_out =
            window > terms_long ? std::exp(-lambda * (terms() - exact_terms)) : 0;
        double beyond = 0.0;
        for (int k = terms() - exact_terms; k < chunks * chunk_bits; ++k) {
            beyond += std::exp(-lambda * k);
        }
        // Bound of the error; u is half a unit in the last place of binary32 at 1. Each step of the
        // tail rounds a table's value, the decay and the result; the last adds `beyond`.
        const double u = 0x1p-24;
        const double d = std::exp(-chunk_bits * lambda);
        const double chunk = (1.0 - d) * s;
        const double tail = u * ((chunk + s + d * s) / (1.0 - d) + s + beyond) + left_out * s;
        // The binary64 steps of this sum and of the canonical one, and the latter's cut at e^-40.
        const double binary64 = 0x1p-45 * s * s;
        const double error = 1.01 * (tail * std::exp(-lambda * exact_terms) + binary64);
        rows[i] = {decay, static_cast<float>(d),
                   static_cast<std::uint32_t>(row * chunk_values * sizeof(float))};
        tails[i] = {error, static_cast<float>(lambda), static_cast<float>(-beyond)};
    }
};

}  // namespace sep::cuda
