#pragma once

#include <string>

#include "sep/rolling.hpp"

namespace sep::scalar {

void rolling(const Encoded& encoded, int window, const RollingOutputs& out);

}  // namespace sep::scalar

namespace sep::cuda {

struct Status {
    bool available;
    std::string detail;
};

Status status();
void rolling(const Encoded& encoded, int window, const RollingOutputs& out);

}  // namespace sep::cuda
