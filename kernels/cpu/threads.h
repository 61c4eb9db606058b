// A small pool: the caller's thread and threads - 1 others share the indices of a loop. Which
// thread does an index never affects its result, so the schedule is free and the bytes are not.
#ifndef SAD_CPU_THREADS_H_
#define SAD_CPU_THREADS_H_

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace sad {

class ThreadPool {
 public:
  // Fewer threads than asked for if the system gives no more.
  explicit ThreadPool(int threads) {
    if (threads > 1) workers_.reserve(threads - 1);
    try {
      for (; size_ < threads; ++size_) workers_.emplace_back([this, i = size_] { work(i); });
    } catch (const std::system_error&) {
    }
  }
  ~ThreadPool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // body(index, worker) for every index in [0, count); worker in [0, size()). What a body throws
  // (memory may run out) ends the loop, and one of the exceptions is thrown again here.
  void run(int count, const std::function<void(int, int)>& body) {
    if (size_ == 1 || count <= 1) {
      for (int i = 0; i < count; ++i) body(i, 0);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = &body;
      count_ = count;
      next_ = 0;
      busy_ = size_ - 1;
      error_ = nullptr;
      ++round_;
    }
    wake_.notify_all();
    drain(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void drain(int worker) {
    try {
      for (int i; (i = next_.fetch_add(1)) < count_;) (*body_)(i, worker);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      error_ = std::current_exception();
      next_ = count_;
    }
  }
  void work(int worker) {
    unsigned seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
      }
      drain(worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  int size_ = 1;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int, int)>* body_ = nullptr;
  int count_ = 0, busy_ = 0;
  std::exception_ptr error_;
  std::atomic<int> next_{0};
  unsigned round_ = 0;
  bool stop_ = false;
};

}  // namespace sad
#endif  // SAD_CPU_THREADS_H_
