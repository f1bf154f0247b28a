#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sep {

/// Call `work()` on up to `threads` threads and wait; what one of them throws is thrown here.
template <class Work>
void in_parallel(int threads, std::size_t tasks, const Work& work) {
    const auto wanted = std::min(static_cast<std::size_t>(threads), tasks);
    if (wanted <= 1) {
        work();
        return;
    }
    std::exception_ptr thrown;
    std::mutex guard;
    {
        std::vector<std::jthread> workers;
        for (std::size_t i = 0; i < wanted; ++i) {
            workers.emplace_back([&] {
                try {
                    work();
                } catch (...) {  // handed over, not swallowed
                    const std::lock_guard lock(guard);
                    if (!thrown) thrown = std::current_exception();
                }
            });
        }
    }
    if (thrown) std::rethrow_exception(thrown);
}

}  // namespace sep
