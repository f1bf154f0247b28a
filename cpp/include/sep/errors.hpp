#pragma once

#include <stdexcept>

namespace sep {

/// An argument breaks a stated rule. The message names the argument and the rule.
class InvalidArgument : public std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

/// A backend that was asked for by name cannot run here. The message says why.
class BackendError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace sep
