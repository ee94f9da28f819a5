#include "engine/pool.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "cpu/cpu.h"

namespace filigree {

namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t setting(const char* name, int64_t fallback, int64_t low, int64_t high) {
  const char* text = std::getenv(name);
  if (!text || !*text) return fallback;
  return std::clamp<int64_t>(std::strtoll(text, nullptr, 10), low, high);
}

/// Spins, then lets others run between polls, until `ready` or the time is up.
template <class Ready>
bool spin(int64_t spinNs, const Ready& ready) {
  for (int i = 0; i < 16; i++) {
    if (ready()) return true;
    pause();
  }
  if (spinNs <= 0) return ready();
  const int64_t start = now();
  for (int64_t passed = 0; passed < spinNs; passed = now() - start) {
    for (int i = 0; i < 16; i++) {
      if (ready()) return true;
      pause();
    }
    if (passed > spinNs / 4) std::this_thread::yield();
  }
  return ready();
}

}  // namespace

struct Pool::Worker {
  alignas(64) std::atomic<int32_t> bell{0};
  std::thread thread;
};

void Gang::publish(uint64_t count) {
  const uint64_t sequence = (section_.load(std::memory_order_relaxed) >> kCountBits) + 1;
  // An exchange, not a store: emulators of weakly ordered processors let the load below pass a store.
  section_.exchange(sequence << kCountBits | count, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
  bell_.fetch_add(1, std::memory_order_seq_cst);
  bell_.notify_all();
}

void Gang::parallel(int limit, Body body, void* context) {
  const int threads = std::min({limit, limit_, size()});
  if (threads <= 1) {
    body(context, 0, 1);
    return;
  }
  body_ = body;
  context_ = context;
  pending_.store(threads - 1, std::memory_order_relaxed);
  publish(static_cast<uint64_t>(threads));
  body(context, 0, threads);
  const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (spin(spinNs_, done)) return;
  for (int32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) {
    pending_.wait(left, std::memory_order_acquire);
  }
}

void Gang::help() {
  uint64_t seen = section_.load(std::memory_order_acquire);
  if ((seen & kCountMask) == 0) return;
  const int thread = 1 + joined_.fetch_add(1, std::memory_order_acq_rel);
  const auto changed = [&] { return section_.load(std::memory_order_seq_cst) != seen; };
  for (;;) {
    if (!spin(spinNs_, changed)) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      for (;;) {
        const int32_t bell = bell_.load(std::memory_order_seq_cst);
        if (changed()) break;
        bell_.wait(bell, std::memory_order_seq_cst);
      }
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    }
    seen = section_.load(std::memory_order_acquire);
    const int threads = static_cast<int>(seen & kCountMask);
    if (threads == 0) return;
    if (thread >= threads) continue;
    body_(context_, thread, threads);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

Pool::Pool(int threads, int64_t spinNs) : spinNs_(spinNs) {
  for (int i = 0; i < threads; i++) workers_.push_back(std::make_unique<Worker>());
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  for (auto& worker : workers_) {
    worker->bell.fetch_add(1);
    worker->bell.notify_all();
    if (worker->thread.joinable()) worker->thread.join();
  }
}

Pool& Pool::instance() {
  static Pool* const pool = [] {
    const int cores = usableCores();
    const int threads = static_cast<int>(setting("FILIGREE_THREADS", cores, 1, 1024));
    // On a single core spinning only keeps the awaited thread from running.
    const int64_t spinUs = cores > 1 ? setting("FILIGREE_SPIN_US", 60, 0, 1000000) : 0;
    return new Pool(threads, spinUs * 1000);
  }();
  return *pool;
}

int Pool::start() {
  if (started_) return running_;
  started_ = true;
  // Signals belong to the threads of the host: ours inherit a mask without any.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (auto& worker : workers_) {
      worker->thread = std::thread([this, at = worker.get()] { work(at); });
      running_++;
    }
  } catch (const std::system_error&) {
    // The process has all the threads it may have: fewer must do.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return running_;
}

bool Pool::ready() {
  std::lock_guard<std::mutex> lock(mutex_);
  return start() > 0;
}

void Pool::takeIdle(int count, std::vector<Worker*>* out) {
  for (; count > 0 && !idle_.empty(); count--) {
    out->push_back(idle_.back());
    idle_.pop_back();
  }
}

void Pool::ring(const std::vector<Worker*>& workers) {
  for (Worker* worker : workers) {
    worker->bell.fetch_add(1, std::memory_order_seq_cst);
    worker->bell.notify_one();
  }
}

void Pool::submit(Job* job) {
  std::vector<Worker*> woken;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    start();
    const auto before = [](const Job* a, const Job* b) { return a->priority < b->priority; };
    queue_.insert(std::lower_bound(queue_.begin(), queue_.end(), job, before), job);
    takeIdle(1, &woken);
  }
  ring(woken);
}

bool Pool::withdraw(Job* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find(queue_.begin(), queue_.end(), job);
  if (found == queue_.end()) return false;
  queue_.erase(found);
  return true;
}

void Pool::open(const std::shared_ptr<Gang>& gang, int helpers) {
  std::vector<Worker*> woken;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    start();
    gang->room_ = helpers;
    open_.push_back(gang);
    takeIdle(helpers, &woken);
  }
  ring(woken);
}

void Pool::close(const std::shared_ptr<Gang>& gang) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), gang));
  }
  gang->stop();
}

std::shared_ptr<Gang> Pool::findOpenGang() {
  for (const auto& gang : open_) {
    if (gang->room_ > 0) {
      gang->room_--;
      return gang;
    }
  }
  return nullptr;
}

void Pool::lead(int threads, void (*body)(void* context, Gang& gang), void* context) {
  threads = std::min(threads, 1 + this->threads());
  if (threads <= 1) {
    Gang alone(1, 0);
    body(context, alone);
    return;
  }
  const auto gang = std::make_shared<Gang>(threads, spinNs_);
  open(gang, threads - 1);
  body(context, *gang);
  close(gang);
}

void Pool::work(Worker* worker) {
  for (;;) {
    Job* job = nullptr;
    std::shared_ptr<Gang> gang;
    int32_t bell = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      if (!queue_.empty()) {
        job = queue_.back();
        queue_.pop_back();
      } else if (!(gang = findOpenGang())) {
        bell = worker->bell.load(std::memory_order_seq_cst);
        idle_.push_back(worker);
      }
    }
    if (job) {
      lead(
          std::min(job->threads, this->threads()), [](void* at, Gang& g) { static_cast<Job*>(at)->execute(g); }, job);
      job->finish();
    } else if (gang) {
      gang->help();
    } else if (!spin(spinNs_, [&] { return worker->bell.load(std::memory_order_seq_cst) != bell; })) {
      worker->bell.wait(bell, std::memory_order_seq_cst);
    }
  }
}

}  // namespace filigree
