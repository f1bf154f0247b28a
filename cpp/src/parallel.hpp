#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sep {

/// Call `work()` on up to `threads` threads, of which the caller is one, and wait; what one of them
/// throws is thrown here. `work` takes its tasks from a common count: the caller is at work while
/// the others begin.
template <class Work>
void in_parallel(int threads, std::size_t tasks, const Work& work) {
    const auto wanted = std::min(static_cast<std::size_t>(threads), tasks);
    if (wanted <= 1) {
        work();
        return;
    }
    std::exception_ptr thrown;
    std::mutex guard;
    const auto guarded = [&] {
        try {
            work();
        } catch (...) {  // handed over, not swallowed
            const std::lock_guard lock(guard);
            if (!thrown) thrown = std::current_exception();
        }
    };
    {
        std::vector<std::jthread> others;
        for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(guarded);
        guarded();
    }
    if (thrown) std::rethrow_exception(thrown);
}

/// Call `work(task)` for every task on up to `threads` threads, as above. The caller calls
/// `between()` before each task that it takes. After a throw no thread begins another task.
template <class Work, class Between>
void each_in_parallel(int threads, std::size_t tasks, const Work& work, const Between& between) {
    std::atomic<std::size_t> next = 0;
    const std::thread::id caller = std::this_thread::get_id();
    in_parallel(threads, tasks, [&] {
        const bool calls = std::this_thread::get_id() == caller;
        try {
            for (std::size_t task = next++; task < tasks; task = next++) {
                if (calls) between();
                work(task);
            }
        } catch (...) {
            next = tasks;
            throw;
        }
    });
}

template <class Work>
void each_in_parallel(int threads, std::size_t tasks, const Work& work) {
    each_in_parallel(threads, tasks, work, [] {});
}

}  // namespace sep
