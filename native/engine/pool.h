// The process-wide threads and how a run spreads over them.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace filigree {

/// Threads that work on one job: the leader, which opened the gang, and whoever joined so far. The leader alone walks
/// the job and calls `parallel` where there is work to share; a thread that arrives late is used from then on.
class Gang {
 public:
  /// Called as body(context, thread, threads) on each thread of a parallel section.
  using Body = void (*)(void* context, int thread, int threads);

  Gang(int limit, int64_t spinNs) : limit_(limit), spinNs_(spinNs) {}

  /// Runs `body` on at most `limit` threads, this one being number 0, and returns when all are done.
  void parallel(int limit, Body body, void* context);

  /// Most threads that can ever belong to it.
  int limit() const { return limit_; }

  /// Threads that parallel can use now.
  int size() const { return 1 + joined_.load(std::memory_order_acquire); }

 private:
  friend class Pool;
  static constexpr uint64_t kCountBits = 12;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

  void help();
  void publish(uint64_t count);
  void stop() { publish(0); }

  const int limit_;
  const int64_t spinNs_;
  /// Free places for helpers; guarded by the pool's mutex.
  int room_ = 0;
  Body body_ = nullptr;
  void* context_ = nullptr;
  /// Sequence number of the section in the upper bits, its thread count in the lower ones; a count of 0 ends the gang.
  alignas(64) std::atomic<uint64_t> section_{1};
  /// Threads asleep on bell_, which rings at each new section while there are any.
  std::atomic<int32_t> sleepers_{0};
  std::atomic<int32_t> bell_{0};
  alignas(64) std::atomic<int32_t> joined_{0};
  /// Helpers still inside the section.
  alignas(64) std::atomic<int32_t> pending_{0};
};

/// Work for the pool. Owned by whoever submits it; the pool does not touch it after finish() has been called.
class Job {
 public:
  virtual ~Job() = default;
  /// Runs on the leader. `gang` has no helpers when `threads` is 1.
  virtual void execute(Gang& gang) = 0;
  /// Called on the leader once the gang is dissolved.
  virtual void finish() = 0;

  int threads = 1;
  int priority = 0;
};

/// A fixed number of threads that start with the first work, spin for a moment when idle and then sleep.
class Pool {
 public:
  /// `spinNs`: how long an idle or waiting thread spins before it sleeps.
  Pool(int threads, int64_t spinNs);
  /// Only for tests: the process-wide pool is never destroyed. Nothing may be queued or running.
  ~Pool();

  /// The pool of the process: one thread a usable core (FILIGREE_THREADS overrides), leaked on purpose, since its
  /// threads outlive every environment that loaded the addon.
  static Pool& instance();

  int threads() const { return static_cast<int>(workers_.size()); }

  /// False where the system grants no thread at all: submitted jobs would never run.
  bool ready();

  /// Queues a job; higher priorities first, else in order.
  void submit(Job* job);
  /// Takes a job back that no thread has begun. False when it is too late.
  bool withdraw(Job* job);

  /// Runs body(context, gang) on this thread as leader, with up to threads - 1 idle threads of the pool helping.
  void lead(int threads, void (*body)(void* context, Gang& gang), void* context);

 private:
  struct Worker;

  /// Starts the threads at the first call; returns how many run. Under the mutex.
  int start();
  void work(Worker* worker);
  void open(const std::shared_ptr<Gang>& gang, int helpers);
  void close(const std::shared_ptr<Gang>& gang);
  std::shared_ptr<Gang> findOpenGang();
  /// Removes up to `count` threads from the idle list, the most recently idle first.
  void takeIdle(int count, std::vector<Worker*>* out);
  void ring(const std::vector<Worker*>& workers);

  const int64_t spinNs_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
  /// Highest priority last; among equals the oldest last.
  std::vector<Job*> queue_;
  std::vector<std::shared_ptr<Gang>> open_;
  bool started_ = false;
  int running_ = 0;
  bool stopping_ = false;
};

}  // namespace filigree
