// A small pool: the caller's thread and threads - 1 others share the indices of a loop. Which
// thread does an index never affects its result, so the schedule is free and the bytes are not.
#ifndef SAD_CPU_THREADS_H_
#define SAD_CPU_THREADS_H_

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sad {

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : size_(threads < 1 ? 1 : threads) {
    for (int i = 1; i < size_; ++i) workers_.emplace_back([this, i] { work(i); });
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

  // body(index, worker) for every index in [0, count); worker in [0, size()).
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
      ++round_;
    }
    wake_.notify_all();
    drain(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void drain(int worker) {
    for (int i; (i = next_.fetch_add(1)) < count_;) (*body_)(i, worker);
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

  const int size_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int, int)>* body_ = nullptr;
  int count_ = 0, busy_ = 0;
  std::atomic<int> next_{0};
  unsigned round_ = 0;
  bool stop_ = false;
};

}  // namespace sad
#endif  // SAD_CPU_THREADS_H_
