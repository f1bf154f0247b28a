#include <algorithm>
#include <vector>

#include "rolling_tiles.cuh"

namespace sep::cuda {
namespace {

// Two blocks share a multiprocessor, so that one computes while the other waits for its words.
constexpr int block_size = 512;
constexpr int blocks_per_processor = 2;
constexpr int warps = block_size / 32;
constexpr int damped_column = 9;
constexpr int anchored_column = 10;
constexpr unsigned complete_mask = 1U << tile_column_count;
/// The columns without the anchored sum. A kernel of their own spares each store a question.
constexpr unsigned ten_mask = (1U << anchored_column) - 1;

constexpr int row_slots = lambda_bits * lambda_bits;

/// Words of the longest tile: its outputs, what its first window needs, and both ends' rounding.
__host__ __device__ constexpr int words_max(int window) {
    return static_cast<int>(tile_outputs + (window > tile_reach_min ? window : tile_reach_min)) /
               32 +
           3;
}

struct TileJob {
    DeviceChunk chunk;
    std::uint64_t outputs;
    sep::TableView tables;
    TileColumns columns;
    unsigned wanted;  ///< bit i: column i; then complete_mask
    LeftTiles left;
};

/// Pointers to the global copies of the tables; `view` holds everything else.
struct TileSource {
    TileView view;
    const double* ones_all;  ///< by row of TileRow: the sum of e^(-lambda k) over the window
    int chunk_sum_count;
};

/// A window whose damped sum has to be taken in the canonical order: which of the block's tiles it
/// belongs to, times tile_outputs, plus its place there.
using Unsettled = std::uint32_t;
constexpr int unsettled_max = block_size + tile_outputs;

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
    for (int i = threadIdx.x; i < count; i += block_size) to[i] = from[i];
    return to;
}

/// Ask whether the transitions into bits first..end-1 are all valid; the whole block asks.
__device__ bool joined_throughout(const std::uint32_t* joined, std::uint64_t first,
                                  std::uint64_t end) {
    bool all = true;
    for (std::uint64_t word = first / 32 + threadIdx.x; 32 * word < end; word += block_size) {
        std::uint32_t wanted = ~0U;
        if (32 * word < first) wanted &= ~0U << (first % 32);
        if (32 * (word + 1) > end) wanted &= ~0U >> (31 - (end - 1) % 32);
        all &= (joined[word] & wanted) == wanted;
    }
    return __syncthreads_and(all);
}

/// Read `count` words from word `first` of the series and count what lies before each. There are
/// fewer words than threads.
__device__ void load_words(TileWord* words, const std::uint32_t* bits, std::uint64_t first,
                           int count, std::uint32_t* warp_sums) {
    const int i = threadIdx.x;
    const int lane = i % 32;
    TileWord word{};
    if (i < count) {
        word.bits = bits[first + i];
        word.older = first + i == 0 ? 0 : bits[first + i - 1];
        word.flips = word.bits ^ (word.bits << 1 | word.older >> 31);
    }
    const std::uint32_t sum = __popc(word.flips) + (__popc(word.bits & ~word.flips) << 16);
    std::uint32_t up_to = sum;
    for (int step = 1; step < 32; step *= 2) {
        const std::uint32_t other = __shfl_up_sync(~0U, up_to, step);
        if (lane >= step) up_to += other;
    }
    if (lane == 31) warp_sums[i / 32] = up_to;
    __syncthreads();
    word.before = up_to - sum;
    for (int warp = 0; warp < i / 32; ++warp) word.before += warp_sums[warp];
    if (i < count) words[i] = word;
    __syncthreads();
}

/// The one binary32 number that both ends of an interval round to; false: they differ.
__device__ bool settled(double low, double high, float& value) {
    value = static_cast<float>(low);
    return value == static_cast<float>(high);
}

// A block computes tile after tile, each of its threads every block_size-th output of a tile.
template <int Chunks, bool EveryPrice, bool Ten>
__global__ void __launch_bounds__(block_size, blocks_per_processor)
    tile_kernel(const __grid_constant__ TileJob job, const __grid_constant__ TileSource source) {
    extern __shared__ __align__(256) char shared[];
    __shared__ std::uint32_t warp_sums[warps];
    __shared__ int unsettled_count;
    char* memory = shared;
    TileView view = source.view;
    const int window = view.window;
    view.chunk_sums = copied(memory, view.chunk_sums, source.chunk_sum_count);
    view.rows = copied(memory, view.rows, row_slots);
    view.tails = copied(memory, view.tails, row_slots);
    TileWord* const words = take<TileWord>(memory, words_max(window));
    Unsettled* const unsettled = take<Unsettled>(memory, unsettled_max);
    view.g = copied(memory, view.g, window);
    view.g_changed = copied(memory, view.g_changed, window);
    view.g_after = copied(memory, view.g_after, window);
    view.share = copied(memory, view.share, window);
    view.rest = copied(memory, view.rest, window);
    if (threadIdx.x == 0) unsettled_count = 0;

    const Chunk& chunk = job.chunk.chunk;
    const auto* const bits = reinterpret_cast<const std::uint32_t*>(chunk.bits.words);
    const auto* const joined = reinterpret_cast<const std::uint32_t*>(chunk.joined.words);
    const unsigned wanted = Ten ? ten_mask | (job.wanted & complete_mask) : job.wanted;
    const bool wants_sum = wanted & 1U << damped_column;
    const bool wants_anchored = wanted & 1U << anchored_column;
    const auto tiles = static_cast<std::uint32_t>((job.outputs + tile_outputs - 1) / tile_outputs);

    // Every thread takes one of the windows that the list holds.
    const auto settle = [&](int count) {
        for (int i = threadIdx.x; i < count; i += block_size) {
            const std::uint64_t tile =
                blockIdx.x + std::uint64_t{unsettled[i] / tile_outputs} * gridDim.x;
            const std::uint64_t k = tile * tile_outputs + unsettled[i] % tile_outputs;
            const BitsBefore window_bits = chunk.bits.before(job.chunk.bits_at(k));
            WindowMetrics m;
            set_damped(m, window_bits, lambda_row(window_bits(0), job.tables.row_of), job.tables);
            if (wants_sum) job.columns.column[damped_column][k] = static_cast<float>(m.damped);
            if (wants_anchored) {
                job.columns.column[anchored_column][k] = static_cast<float>(m.damped_anchored);
            }
        }
    };

    std::uint32_t ordinal = 0;
    for (std::uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x, ++ordinal) {
        const std::uint64_t first = std::uint64_t{tile} * tile_outputs;
        const auto count = static_cast<std::uint32_t>(
            min(static_cast<std::uint64_t>(tile_outputs), job.outputs - first));
        // Positions in the words: a window ends before its `end`.
        const std::uint64_t first_end = job.chunk.bits_at(first) - chunk.bits.forgotten;
        const std::uint64_t last_end = job.chunk.bits_at(first + count - 1) - chunk.bits.forgotten;
        const std::uint64_t reach = max(window, tile_reach_min);
        const bool plain =
            first_end >= reach &&
            joined_throughout(joined, first_end - max(window, lambda_bits) + 1, last_end);
        if (!plain) {
            if (threadIdx.x == 0) job.left.tiles[atomicAdd(job.left.count, 1)] = tile;
            continue;
        }
        const std::uint64_t first_word = (first_end - reach) / 32;
        load_words(words, bits, first_word, static_cast<int>((last_end - 1) / 32 - first_word) + 1,
                   warp_sums);
        const int newest_first = static_cast<int>(first_end - 32 * first_word) - 1;

        for (std::uint32_t at = threadIdx.x; at < count; at += block_size) {
            int newest = newest_first + static_cast<int>(at);
            if (!EveryPrice) {
                newest = static_cast<int>(job.chunk.bits_at(first + at) - chunk.bits.forgotten -
                                          32 * first_word) -
                         1;
            }
            const auto put = [&](int column, float value) {
                if (wanted & 1U << column) (job.columns.column[column] + first)[at] = value;
            };
            const TileCounts counts = tile_counts(words, newest, view);
#pragma unroll
            for (int i = 0; i < 8; ++i) put(i, counts.metric[i]);
            put(8, view.tails[counts.row].lambda);
            if (wanted & complete_mask) (job.columns.complete + first)[at] = 1;
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
            if (!known) {
                unsettled[atomicAdd(&unsettled_count, 1)] =
                    ordinal * static_cast<std::uint32_t>(tile_outputs) + at;
            }
        }
        __syncthreads();
        if (unsettled_count >= block_size) {
            settle(unsettled_count);
            __syncthreads();
            if (threadIdx.x == 0) unsettled_count = 0;
        }
    }
    __syncthreads();
    settle(unsettled_count);
}

template <int Chunks>
auto* kernel_for(bool every_price, bool ten) {
    if (ten)
        return every_price ? tile_kernel<Chunks, true, true> : tile_kernel<Chunks, false, true>;
    return every_price ? tile_kernel<Chunks, true, false> : tile_kernel<Chunks, false, false>;
}

std::vector<double> doubles_of(const TileTables& t) {
    std::vector<double> all = t.g;
    all.insert(all.end(), t.g_changed.begin(), t.g_changed.end());
    all.insert(all.end(), t.g_after.begin(), t.g_after.end());
    all.insert(all.end(), t.ones_all.begin(), t.ones_all.end());
    return all;
}

std::vector<float> floats_of(const TileTables& t) {
    std::vector<float> all = t.share;
    all.insert(all.end(), t.rest.begin(), t.rest.end());
    all.insert(all.end(), t.chunk_sums.begin(), t.chunk_sums.end());
    return all;
}

std::size_t shared_bytes(int window, std::size_t chunk_sum_count) {
    const auto part = [](std::size_t bytes) { return (bytes + 15) / 16 * 16; };
    const auto n = static_cast<std::size_t>(window);
    return part(words_max(window) * sizeof(TileWord)) + part(unsettled_max * sizeof(Unsettled)) +
           part(row_slots * sizeof(TileRow)) + part(row_slots * sizeof(TileTail)) +
           3 * part(n * sizeof(double)) + 2 * part(n * sizeof(float)) +
           part(chunk_sum_count * sizeof(float));
}

}  // namespace

bool TileKernel::fits(int window) {
    int device = 0;
    int bytes = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "cudaDeviceGetAttribute");
    // 1 KB is for what the kernel declares itself.
    return shared_bytes(window, tables().rows.size() * chunk_values) + 1024 <=
           static_cast<std::size_t>(bytes);
}

TileKernel::TileKernel(int window, const std::vector<DampedSpan>& spans, const Stream& stream)
    : tables_(window, spans),
      doubles_(std::span<const double>(doubles_of(tables_)), stream),
      floats_(std::span<const float>(floats_of(tables_)), stream),
      rows_(std::span<const TileRow>(tables_.rows), stream),
      tails_(std::span<const TileTail>(tables_.tails), stream),
      processors_(processors()) {
    stream.wait();  // the vectors above end here
}

void TileKernel::launch(const DeviceChunk& chunk, std::uint64_t outputs,
                        const sep::TableView& tables, const TileColumns& columns, LeftTiles left,
                        cudaStream_t stream) const {
    TileSource source{tables_.view(), nullptr, static_cast<int>(tables_.chunk_sums.size())};
    const auto n = static_cast<std::size_t>(tables_.window);
    source.view.g = doubles_.get();
    source.view.g_changed = source.view.g + n;
    source.view.g_after = source.view.g + 2 * n;
    source.ones_all = source.view.g + 3 * n;
    source.view.share = floats_.get();
    source.view.rest = source.view.share + n;
    source.view.chunk_sums = source.view.share + 2 * n;
    source.view.rows = rows_.get();
    source.view.tails = tails_.get();
    TileJob job{chunk, outputs, tables, columns, 0, left};
    for (int i = 0; i < tile_column_count; ++i) {
        if (columns.column[i] != nullptr) job.wanted |= 1U << i;
    }
    if (columns.complete != nullptr) job.wanted |= complete_mask;

    const bool ten = (job.wanted & ~complete_mask) == ten_mask;
    auto* const kernel = tables_.chunks == chunks_short
                             ? kernel_for<chunks_short>(chunk.before == nullptr, ten)
                             : kernel_for<chunks_long>(chunk.before == nullptr, ten);
    const std::size_t shared = shared_bytes(tables_.window, tables_.chunk_sums.size());
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "cudaFuncSetAttribute");
    const std::uint64_t tiles = (outputs + tile_outputs - 1) / tile_outputs;
    const auto blocks = static_cast<unsigned>(std::min<std::uint64_t>(
        tiles, static_cast<std::uint64_t>(processors_) * blocks_per_processor));
    kernel<<<blocks, block_size, shared, stream>>>(job, source);
    check(cudaGetLastError(), "tile_kernel");
}

}  // namespace sep::cuda
