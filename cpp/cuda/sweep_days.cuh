#pragma once

#include <cstdint>

#include "sep/sweep.hpp"
#include "sweep_walk.cuh"

/// Which rule is the best by its daily results, world by world and cut by cut.
namespace sep::cuda {

constexpr int choose_threads = 256;

struct ChooseArgs {
    const std::int64_t* day_nets;  ///< [world][day][place]
    const WalkRule* rules;         ///< of each place
    const std::int32_t* cuts;
    std::int32_t rule_count;
    std::int32_t days;
    double* t_values;         ///< [world][cut]
    std::int64_t* best;       ///< [world][cut]
    std::int64_t* best_days;  ///< [world][cut][day]
};

/// The best rule so far, and its place in the rows of days.
struct Chosen {
    SurrogateBest best;
    std::int32_t place;
};

// Block (c, w) chooses among the days before cut c of world w. Thread i takes places i, i + 256,
// ..., so that neighbours read side by side.
__global__ void __launch_bounds__(choose_threads) choose_kernel(ChooseArgs a) {
    __shared__ Chosen found[choose_threads];
    const std::size_t cell = static_cast<std::size_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    const std::int32_t cut = a.cuts[blockIdx.x];
    const auto row = static_cast<std::size_t>(a.rule_count);
    const std::int64_t* of_world =
        a.day_nets + static_cast<std::size_t>(blockIdx.y) * static_cast<std::size_t>(a.days) * row;
    Chosen mine{{-HUGE_VAL, INT64_MAX}, 0};
    for (std::int32_t place = threadIdx.x; place < a.rule_count; place += choose_threads) {
        std::int64_t sum = 0;
        std::int64_t squares = 0;
        for (std::int32_t day = 0; day < cut; ++day) {
            const std::int64_t net = of_world[static_cast<std::size_t>(day) * row + place];
            sum += net;
            squares += net * net;
        }
        const SurrogateBest one{daily_t_value(sum, squares, cut), a.rules[place].rule};
        if (is_better(one, mine.best)) mine = {one, place};
    }
    found[threadIdx.x] = mine;
    for (int half = choose_threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (static_cast<int>(threadIdx.x) < half &&
            is_better(found[threadIdx.x + half].best, found[threadIdx.x].best)) {
            found[threadIdx.x] = found[threadIdx.x + half];
        }
    }
    __syncthreads();
    const Chosen chosen = found[0];
    if (threadIdx.x == 0) {
        a.t_values[cell] = chosen.best.statistic;
        a.best[cell] = chosen.best.rule;
    }
    for (std::int32_t day = threadIdx.x; day < a.days; day += choose_threads) {
        a.best_days[cell * static_cast<std::size_t>(a.days) + day] =
            of_world[static_cast<std::size_t>(day) * row + chosen.place];
    }
}

}  // namespace sep::cuda
