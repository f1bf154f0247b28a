#pragma once

#include <memory>
#include <string>

#include "sep/rolling.hpp"

namespace sep::scalar {

std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec);

}  // namespace sep::scalar

namespace sep::cuda {

struct Status {
    bool available;
    std::string detail;
};

Status status();
std::unique_ptr<RollingBackend> make_rolling(const WindowSpec& spec);

}  // namespace sep::cuda
