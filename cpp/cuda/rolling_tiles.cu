#include <algorithm>
#include <vector>

#include "rolling_tiles.cuh"

namespace sep::cuda {
namespace {

// The warps of a block share the tables and nothing else, so that none waits for another.
constexpr int block_sizes[] = {1024, 512, 256};  // the first that fits the shared memory
constexpr int block_size_max = block_sizes[0];
constexpr unsigned all_lanes = ~0U;
constexpr int damped_column = 9;
constexpr int anchored_column = 10;
constexpr unsigned complete_mask = 1U << tile_column_count;
/// The columns without the anchored sum. A kernel of their own spares each store a question.
constexpr unsigned ten_mask = (1U << anchored_column) - 1;

constexpr int row_slots = lambda_bits * lambda_bits;

/// Words of the longest tile: its outputs, what its first window needs, and both ends' rounding.
__host__ __device__ constexpr int words_max(int window) {
    return (tile_outputs + (window > tile_reach_min ? window : tile_reach_min)) / 32 + 3;
}
/// Of them, those of each lane.
constexpr int lane_words = 2;
static_assert(words_max(window_max) <= 32 * lane_words);

struct TileJob {
    DeviceChunk chunk;
    std::uint64_t outputs;
    std::uint32_t tiles;
    sep::TableView tables;
    TileColumns columns;
    unsigned wanted;  ///< bit i: column i; then complete_mask
    LeftTiles left;
    std::uint32_t* taken;
};

/// Pointers to the global copies of the tables; `view` holds everything else.
struct TileSource {
    TileView view;
    const double* ones_all;  ///< by row of TileRow: the sum of e^(-lambda k) over the window
    int chunk_sum_count;
};

/// A window whose damped sum has to be taken in the canonical order, by its output. A warp settles
/// 32 of them together, so that no more than 63 wait.
using Unsettled = std::uint64_t;
constexpr int unsettled_max = 64;

/// A part of the block's shared memory.
template <class T>
__device__ T* take(char*& memory, int count) {
    T* const part = reinterpret_cast<T*>(memory);
    memory += (count * sizeof(T) + 15) / 16 * 16;
    return part;
}

template <class T>
__device__ const T* copied(char*& memory, const T* from, int count) {
    T* const to = take<T>(memory, count);
    for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
    return to;
}

/// Bits of word i that lie at first..end-1, all counted from the first of the words.
__device__ std::uint32_t bits_within(int i, int first, int end) {
    const int before = min(max(first - 32 * i, 0), 32);
    const int up_to = min(max(end - 32 * i, 0), 32);
    return static_cast<std::uint32_t>((std::uint64_t{1} << up_to) - 1) &
           static_cast<std::uint32_t>(~std::uint64_t{0} << before);
}

/// What of a series a tile needs, counted from the first of its words.
struct TileReach {
    std::uint64_t first_word;
    int words;
    int joined_first;  ///< the transitions into bits joined_first..end-1 have to be valid
    int end;
};

/// Read the words of a tile and count what lies before each; the whole warp reads.
/// @return whether the transitions are valid; if not, the words are of no use.
__device__ bool load_words(TileWord* words, const std::uint32_t* bits, const std::uint32_t* joined,
                           const TileReach& reach, int lane) {
    // All reads are on their way before the first is waited for.
    std::uint32_t word[lane_words];
    bool valid = true;
#pragma unroll
    for (int part = 0; part < lane_words; ++part) {
        const int i = lane + 32 * part;
        const bool is_there = i < reach.words;
        word[part] = is_there ? bits[reach.first_word + i] : 0;
        const std::uint32_t wanted = is_there ? bits_within(i, reach.joined_first, reach.end) : 0;
        valid &= ((is_there ? joined[reach.first_word + i] : 0) & wanted) == wanted;
    }
    std::uint32_t newest = reach.first_word == 0 ? 0 : bits[reach.first_word - 1];
    if (!__all_sync(all_lanes, valid)) return false;
    std::uint32_t before = 0;
#pragma unroll
    for (int part = 0; part < lane_words; ++part) {
        if (32 * part >= reach.words) break;
        TileWord w;
        w.bits = word[part];
        w.older = __shfl_up_sync(all_lanes, w.bits, 1);
        if (lane == 0) w.older = newest;
        w.flips = w.bits ^ (w.bits << 1 | w.older >> 31);
        const std::uint32_t sum = __popc(w.flips) + (__popc(w.bits & ~w.flips) << 16);
        std::uint32_t up_to = sum;
        for (int step = 1; step < 32; step *= 2) {
            const std::uint32_t other = __shfl_up_sync(all_lanes, up_to, step);
            if (lane >= step) up_to += other;
        }
        w.before = before + up_to - sum;
        if (lane + 32 * part < reach.words) words[lane + 32 * part] = w;
        newest = __shfl_sync(all_lanes, w.bits, 31);
        before += __shfl_sync(all_lanes, up_to, 31);
    }
    return true;
}

/// The one binary32 number that both ends of an interval round to; false: they differ.
__device__ bool settled(double low, double high, float& value) {
    value = static_cast<float>(low);
    return value == static_cast<float>(high);
}

/// A value that all lanes of the warp have, in a register that they share.
__device__ std::uint32_t uniform(std::uint32_t value) {
#if __CUDA_ARCH__ >= 800
    return __reduce_max_sync(all_lanes, value);
#else
    return __shfl_sync(all_lanes, value, 0);
#endif
}

// A warp computes tile after tile, as they come, each of its threads every 32nd output of a tile.
template <int Chunks, bool EveryPrice, bool Ten>
__global__ void __launch_bounds__(block_size_max, 1)
    tile_kernel(const __grid_constant__ TileJob job, const __grid_constant__ TileSource source) {
    extern __shared__ __align__(256) char shared[];
    char* memory = shared;
    TileView view = source.view;
    const int window = view.window;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int warps = blockDim.x / 32;
    view.chunk_sums = copied(memory, view.chunk_sums, source.chunk_sum_count);
    view.rows = copied(memory, view.rows, row_slots);
    view.tails = copied(memory, view.tails, row_slots);
    TileWord* const words =
        take<TileWord>(memory, warps * words_max(window)) + warp * words_max(window);
    Unsettled* const unsettled =
        take<Unsettled>(memory, warps * unsettled_max) + warp * unsettled_max;
    view.counts = copied(memory, view.counts, window);
    view.g_changed = copied(memory, view.g_changed, window);
    view.g_after = copied(memory, view.g_after, window);
    __syncthreads();

    const Chunk& chunk = job.chunk.chunk;
    const auto* const bits = reinterpret_cast<const std::uint32_t*>(chunk.bits.words);
    const auto* const joined = reinterpret_cast<const std::uint32_t*>(chunk.joined.words);
    const unsigned wanted = Ten ? ten_mask | (job.wanted & complete_mask) : job.wanted;
    const bool wants_sum = wanted & 1U << damped_column;
    const bool wants_anchored = wanted & 1U << anchored_column;

    const auto settle = [&](int i) {
        const std::uint64_t k = unsettled[i];
        const BitsBefore window_bits = chunk.bits.before(job.chunk.bits_at(k));
        WindowMetrics m;
        set_damped(m, window_bits, lambda_row(window_bits(0), job.tables.row_of), job.tables);
        if (wants_sum) job.columns.column[damped_column][k] = static_cast<float>(m.damped);
        if (wants_anchored) {
            job.columns.column[anchored_column][k] = static_cast<float>(m.damped_anchored);
        }
    };

    int waiting = 0;  // in `unsettled`
    for (;;) {
        // A tile is taken when it is begun: one that waits would spread what is being written.
        std::uint32_t tile = 0;
        if (lane == 0) tile = atomicAdd(job.taken, 1);
        tile = uniform(__shfl_sync(all_lanes, tile, 0));
        if (tile >= job.tiles) break;
        const std::uint64_t first = std::uint64_t{tile} * tile_outputs;
        const auto count = static_cast<std::uint32_t>(
            min(static_cast<std::uint64_t>(tile_outputs), job.outputs - first));
        // Positions in the words: a window ends before its `end`.
        const std::uint64_t first_end = job.chunk.bits_at(first) - chunk.bits.forgotten;
        const std::uint64_t last_end = job.chunk.bits_at(first + count - 1) - chunk.bits.forgotten;
        const std::uint64_t reach = max(window, tile_reach_min);
        const std::uint64_t first_word = first_end < reach ? 0 : (first_end - reach) / 32;
        const int newest_first = static_cast<int>(first_end - 32 * first_word) - 1;
        const int end = static_cast<int>(last_end - 32 * first_word);
        __syncwarp();  // the words of the tile before are read
        if (first_end < reach || !load_words(words, bits, joined,
                                             {first_word, (end - 1) / 32 + 1,
                                              newest_first + 2 - max(window, lambda_bits), end},
                                             lane)) {
            if (lane == 0) job.left.tiles[atomicAdd(job.left.count, 1)] = tile;
            continue;
        }
        __syncwarp();

        for (std::uint32_t step = 0; step < count; step += 32) {
            // Beyond the end lanes compute the last window again.
            const std::uint32_t i = min(step + lane, count - 1);
            int newest = newest_first + static_cast<int>(i);
            if (!EveryPrice) {
                newest = static_cast<int>(job.chunk.bits_at(first + i) - chunk.bits.forgotten -
                                          32 * first_word) -
                         1;
            }
            const auto put = [&](int column, float value) {
                if (wanted & 1U << column) {
                    // No result is read again here: it may leave the cache first.
                    __stcs((job.columns.column[column] + first) + i, value);
                }
            };
            const TileCounts counts = tile_counts(words, newest, view);
#pragma unroll
            for (int m = 0; m < 8; ++m) put(m, counts.metric[m]);
            put(8, view.tails[counts.row].lambda);
            if (wanted & complete_mask) (job.columns.complete + first)[i] = 1;
            if (!wants_sum && !wants_anchored) continue;

            const TileSum sum = tile_sum<Chunks>(counts, view);
            const double low = sum.value - sum.error;
            const double high = sum.value + sum.error;
            const std::uint32_t turn = (counts.newest ^ 1) << 31;
            float value;
            bool known = settled(low, high, value);
            put(damped_column, float_of(__float_as_uint(value) ^ turn));
            if (wants_anchored) {
                const double all = source.ones_all[counts.row];
                known &= settled((low - all) * 0.5, (high - all) * 0.5, value);
                put(anchored_column, float_of(__float_as_uint(value) ^ turn));
            }
            const unsigned unknown = __ballot_sync(all_lanes, !known);
            if (unknown == 0) continue;
            if (!known) unsettled[waiting + __popc(unknown & ((1U << lane) - 1))] = first + i;
            waiting += __popc(unknown);
            __syncwarp();  // also: what was put above comes before what is settled
            if (waiting < 32) continue;
            waiting -= 32;
            settle(waiting + lane);
            __syncwarp();
        }
    }
    if (lane < waiting) settle(lane);
}

template <int Chunks>
auto* kernel_for(bool every_price, bool ten) {
    if (ten)
        return every_price ? tile_kernel<Chunks, true, true> : tile_kernel<Chunks, false, true>;
    return every_price ? tile_kernel<Chunks, true, false> : tile_kernel<Chunks, false, false>;
}

std::vector<double> doubles_of(const TileTables& t) {
    std::vector<double> all = t.g_changed;
    all.insert(all.end(), t.g_after.begin(), t.g_after.end());
    all.insert(all.end(), t.ones_all.begin(), t.ones_all.end());
    return all;
}

std::size_t shared_bytes(int window, std::size_t chunk_sum_count, int block_size) {
    const auto part = [](std::size_t bytes) { return (bytes + 15) / 16 * 16; };
    const auto n = static_cast<std::size_t>(window);
    const auto warps = static_cast<std::size_t>(block_size) / 32;
    return part(warps * words_max(window) * sizeof(TileWord)) +
           part(warps * unsettled_max * sizeof(Unsettled)) + part(row_slots * sizeof(TileRow)) +
           part(row_slots * sizeof(TileTail)) + part(n * sizeof(TileCount)) +
           2 * part(n * sizeof(double)) + part(chunk_sum_count * sizeof(float));
}

/// The largest block that a multiprocessor of the current device has the shared memory for, 0 if
/// there is none.
int block_size_for(int window) {
    int device = 0;
    int bytes = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "cudaDeviceGetAttribute");
    const std::size_t chunk_sums = tables().rows.size() * chunk_values;
    for (const int size : block_sizes) {
        if (shared_bytes(window, chunk_sums, size) <= static_cast<std::size_t>(bytes)) return size;
    }
    return 0;
}

}  // namespace

bool TileKernel::fits(int window) { return block_size_for(window) > 0; }

TileKernel::TileKernel(int window, const std::vector<DampedSpan>& spans, const Stream& stream)
    : tables_(window, spans),
      counts_(std::span<const TileCount>(tables_.counts), stream),
      doubles_(std::span<const double>(doubles_of(tables_)), stream),
      chunk_sums_(std::span<const float>(tables_.chunk_sums), stream),
      rows_(std::span<const TileRow>(tables_.rows), stream),
      tails_(std::span<const TileTail>(tables_.tails), stream),
      processors_(processors()),
      block_size_(block_size_for(window)) {
    stream.wait();  // the vectors above end here
}

void TileKernel::launch(const DeviceChunk& chunk, std::uint64_t outputs,
                        const sep::TableView& tables, const TileColumns& columns, LeftTiles left,
                        std::uint32_t* taken, cudaStream_t stream) const {
    TileSource source{tables_.view(), nullptr, static_cast<int>(tables_.chunk_sums.size())};
    const auto n = static_cast<std::size_t>(tables_.window);
    source.view.counts = counts_.get();
    source.view.g_changed = doubles_.get();
    source.view.g_after = source.view.g_changed + n;
    source.ones_all = source.view.g_changed + 2 * n;
    source.view.chunk_sums = chunk_sums_.get();
    source.view.rows = rows_.get();
    source.view.tails = tails_.get();
    TileJob job{chunk, outputs, 0, tables, columns, 0, left, taken};
    for (int i = 0; i < tile_column_count; ++i) {
        if (columns.column[i] != nullptr) job.wanted |= 1U << i;
    }
    if (columns.complete != nullptr) job.wanted |= complete_mask;

    job.tiles = static_cast<std::uint32_t>((outputs + tile_outputs - 1) / tile_outputs);

    const bool ten = (job.wanted & ~complete_mask) == ten_mask;
    auto* const kernel = tables_.chunks == chunks_short
                             ? kernel_for<chunks_short>(chunk.before == nullptr, ten)
                             : kernel_for<chunks_long>(chunk.before == nullptr, ten);
    const std::size_t shared = shared_bytes(tables_.window, tables_.chunk_sums.size(), block_size_);
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "cudaFuncSetAttribute");
    const auto warps = static_cast<std::uint32_t>(block_size_) / 32;
    const auto blocks =
        std::min((job.tiles + warps - 1) / warps, static_cast<std::uint32_t>(processors_));
    kernel<<<blocks, block_size_, shared, stream>>>(job, source);
    check(cudaGetLastError(), "tile_kernel");
}

}  // namespace sep::cuda
