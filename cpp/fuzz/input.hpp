#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "backends.hpp"
#include "sep/errors.hpp"

namespace sep::fuzz {

/// Arguments out of arbitrary bytes; when they run out, zeros.
class Input {
public:
    explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    template <class T>
    T take() {
        T value{};
        const std::size_t size = std::min(sizeof(T), bytes_.size());
        if (size > 0) std::memcpy(&value, bytes_.data(), size);
        bytes_ = bytes_.subspan(size);
        return value;
    }

    /// A whole number in low..high.
    std::int64_t in(std::int64_t low, std::int64_t high) {
        const auto range = static_cast<std::uint64_t>(high - low) + 1;
        return low + static_cast<std::int64_t>(take<std::uint32_t>() % range);
    }

    bool flag() { return (take<std::uint8_t>() & 1) != 0; }
    std::size_t left() const { return bytes_.size(); }
    std::span<const std::uint8_t> rest() const { return bytes_; }

private:
    std::span<const std::uint8_t> bytes_;
};

/// What a target throws when the library breaks a promise.
struct Broken : std::logic_error {
    using std::logic_error::logic_error;
};

inline void require(bool kept, const std::string& promise) {
    if (!kept) throw Broken(promise);
}

/// Choose one of the vector kernels of this machine.
inline void choose_kernels(Input& input) {
    static const std::vector<const char*> names = [] {
        std::vector<const char*> found;
        for (const char* const name : {"portable", "AVX2", "AVX-512"}) {
            setenv("SEP_SIMD", name, 1);
            try {
                simd::kernels();
                found.push_back(name);
            } catch (const BackendError&) {
                continue;
            }
        }
        return found;
    }();
    const auto last = static_cast<std::int64_t>(names.size()) - 1;
    setenv("SEP_SIMD", names[static_cast<std::size_t>(input.in(0, last))], 1);
}

/// What `call` refuses its arguments with; empty when it does not.
template <class Call>
std::string refusal_of(const Call& call) {
    try {
        call();
    } catch (const InvalidArgument& error) {
        return error.what();
    }
    return {};
}

// Each takes any bytes and throws Broken when the library breaks a promise.
void prices(std::span<const std::uint8_t> bytes);
void bits(std::span<const std::uint8_t> bytes);
void streams(std::span<const std::uint8_t> bytes);
void snapshot(std::span<const std::uint8_t> bytes);
void calibration(std::span<const std::uint8_t> bytes);
void sweep(std::span<const std::uint8_t> bytes);

}  // namespace sep::fuzz
