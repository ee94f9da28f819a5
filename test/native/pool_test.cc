// The thread pool: gangs, late helpers, the queue, sleeping and waking.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "native/harness.h"

namespace filigree {

namespace {

/// Each thread of a section adds one to the entry of its number.
void countThreads(void* context, int thread, int threads) {
  auto* hits = static_cast<std::atomic<int>*>(context);
  CHECK(thread >= 0 && thread < threads);
  hits[thread].fetch_add(1);
}

void sectionsRunOnDistinctThreads(int threads, int64_t spinNs) {
  Pool pool(threads, spinNs);
  int mostUsed = 0;
  for (int round = 0; round < 60; round++) {
    pool.lead(
        threads + 1,
        [](void* context, Gang& gang) {
          for (int section = 0; section < 50; section++) {
            if (section == 40) awaitHelpers(gang, gang.limit());
            std::atomic<int> hits[16] = {};
            gang.parallel(16, countThreads, hits);
            const int members = gang.size();
            CHECK(hits[0].load() == 1);
            int used = 0;
            for (int t = 0; t < 16; t++) used += hits[t].load();
            CHECK(used <= members);
            for (int t = 0; t < 16; t++) CHECK(hits[t].load() == (t < used ? 1 : 0));
            if (section >= 40) *static_cast<int*>(context) = std::max(*static_cast<int*>(context), used);
          }
        },
        &mostUsed);
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(mostUsed == threads + 1);
}

/// Plain data handed from section to section: the thread sanitizer sees a missing barrier.
void sectionsAreOrdered() {
  Pool pool(3, 20000);
  std::vector<int> values(1000, 0);
  for (int round = 0; round < 300; round++) {
    pool.lead(
        4,
        [](void* context, Gang& gang) {
          for (int section = 0; section < 20; section++) {
            gang.parallel(
                4,
                [](void* at, int thread, int threads) {
                  auto& v = *static_cast<std::vector<int>*>(at);
                  for (size_t i = v.size() * thread / threads; i < v.size() * (thread + 1) / threads; i++) v[i]++;
                },
                context);
            auto& v = *static_cast<std::vector<int>*>(context);
            for (int& value : v) value++;
          }
        },
        &values);
  }
  for (int value : values) CHECK(value == 300 * 20 * 2);
}

struct CountingJob : Job {
  std::mutex* mutex;
  std::condition_variable* changed;
  std::vector<int>* order;
  int number = 0;
  std::atomic<bool>* gate = nullptr;
  std::atomic<int> hits[8] = {};

  void execute(Gang& gang) override {
    while (gate && !gate->load()) std::this_thread::yield();
    gang.parallel(threads, countThreads, hits);
  }
  void finish() override {
    std::lock_guard<std::mutex> lock(*mutex);
    order->push_back(number);
    changed->notify_all();
  }
};

void jobsRunOnceByPriority() {
  Pool pool(1, 0);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int> order;
  std::atomic<bool> gate{false};
  std::vector<std::unique_ptr<CountingJob>> jobs;
  const int priorities[] = {9, 0, 5, 0, 5, -1};
  for (int i = 0; i < 6; i++) {
    auto job = std::make_unique<CountingJob>();
    job->mutex = &mutex;
    job->changed = &changed;
    job->order = &order;
    job->number = i;
    job->priority = priorities[i];
    if (i == 0) job->gate = &gate;
    pool.submit(job.get());
    jobs.push_back(std::move(job));
    // The first is begun before the others come.
    if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(pool.withdraw(jobs[3].get()));
  CHECK(!pool.withdraw(jobs[3].get()));
  gate.store(true);
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return order.size() == 5; });
  CHECK((order == std::vector<int>{0, 2, 4, 1, 5}));
}

void manyJobsFromManyThreads() {
  Pool pool(4, 5000);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int> order;
  constexpr int kSubmitters = 3, kJobs = 400;
  std::vector<std::vector<std::unique_ptr<CountingJob>>> jobs(kSubmitters);
  std::vector<std::thread> submitters;
  for (int s = 0; s < kSubmitters; s++) {
    submitters.emplace_back([&, s] {
      for (int i = 0; i < kJobs; i++) {
        auto job = std::make_unique<CountingJob>();
        job->mutex = &mutex;
        job->changed = &changed;
        job->order = &order;
        job->threads = 1 + i % 4;
        CountingJob* submitted = job.get();
        jobs[s].push_back(std::move(job));
        pool.submit(submitted);
        if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  for (auto& submitter : submitters) submitter.join();
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return order.size() == kSubmitters * kJobs; });
  for (auto& list : jobs) {
    for (auto& job : list) CHECK(job->hits[0].load() == 1);
  }
}

void blocksAreReused() {
  BlockPool pool;
  Block small = pool.take(1000);
  uint8_t* at = small.data();
  CHECK(reinterpret_cast<uintptr_t>(at) % 64 == 0 && small.capacity() >= 1000);
  pool.give(std::move(small));
  Block again = pool.take(900);
  CHECK(again.data() == at);
  pool.give(std::move(again));
  Block large = pool.take(size_t{5} << 20);
  CHECK(reinterpret_cast<uintptr_t>(large.data()) % (size_t{2} << 20) == 0);
  CHECK(pool.idleBytes() == 0);
  large.data()[(size_t{5} << 20) - 1] = 1;
  pool.give(std::move(large));
  Block passed = pool.take(10, 4);
  CHECK(passed.capacity() < 1000 && pool.idleBytes() >= size_t{5} << 20);
  pool.trim();
  CHECK(pool.idleBytes() == 0);
  CHECK(!Block::allocate(SIZE_MAX).data() && !Block::allocate(SIZE_MAX / 2).data());
  BlockPool limited(100);
  limited.give(Block::allocate(1000));
  CHECK(limited.idleBytes() == 0);
}

}  // namespace

}  // namespace filigree

int main() {
  using namespace filigree;
  sectionsRunOnDistinctThreads(0, 0);
  sectionsRunOnDistinctThreads(1, 0);
  sectionsRunOnDistinctThreads(3, 0);
  sectionsRunOnDistinctThreads(3, 50000);
  sectionsAreOrdered();
  jobsRunOnceByPriority();
  manyJobsFromManyThreads();
  blocksAreReused();
  return 0;
}
