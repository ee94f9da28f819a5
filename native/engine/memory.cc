#include "engine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace filigree {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;
/// From here on blocks are mapped: freed on another thread than allocated, they would fragment the heaps of threads.
constexpr size_t kMappedBytes = 128 * 1024;

/// A mapping of `bytes` bytes, aligned to huge pages from 2 MiB on. Null when refused.
uint8_t* map(size_t bytes) {
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* at = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  uint8_t* base = static_cast<uint8_t*>(at);
  if (slack == 0) return base;
  const size_t lead = (kHugePage - reinterpret_cast<uintptr_t>(base) % kHugePage) % kHugePage;
  if (lead > 0) munmap(base, lead);
  if (slack > lead) munmap(base + lead + bytes, slack - lead);
#ifdef MADV_HUGEPAGE
  madvise(base + lead, bytes, MADV_HUGEPAGE);
#endif
  return base + lead;
}

bool probeExecutable() {
  const char* wish = std::getenv("FILIGREE_JIT");
  if (wish && std::strcmp(wish, "0") == 0) return false;
#if defined(__x86_64__)
  Block block = Block::allocateMapped(kPage);
  if (!block.data()) return false;
  block.data()[0] = 0xC3;  // ret
  return block.sealExecutable();
#else
  return false;
#endif
}

}  // namespace

void Block::swap(Block& other) {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(mapped_, other.mapped_);
}

Block::~Block() {
  if (!data_) return;
  if (mapped_) {
    munmap(data_, capacity_);
  } else {
    std::free(data_);
  }
}

Block Block::allocate(size_t bytes) {
  if (bytes >= kMappedBytes) return allocateMapped(bytes);
  Block block;
  const size_t capacity = std::max<size_t>(64, roundUp64(bytes));
  block.data_ = static_cast<uint8_t*>(std::aligned_alloc(64, capacity));
  block.capacity_ = block.data_ ? capacity : 0;
  return block;
}

Block Block::allocateMapped(size_t bytes) {
  Block block;
  if (bytes > SIZE_MAX / 2 - kHugePage) return block;
  const size_t capacity = std::max(kPage, (bytes + kPage - 1) / kPage * kPage);
  block.data_ = map(capacity);
  block.capacity_ = block.data_ ? capacity : 0;
  block.mapped_ = true;
  return block;
}

Block Block::mapFile(int descriptor, size_t bytes, bool code) {
  Block block;
  void* at = mmap(nullptr, bytes, code ? PROT_READ | PROT_EXEC : PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (at == MAP_FAILED) return block;
  block.data_ = static_cast<uint8_t*>(at);
  block.capacity_ = bytes;
  block.mapped_ = true;
  return block;
}

bool Block::sealExecutable() { return mapped_ && data_ && mprotect(data_, capacity_, PROT_READ | PROT_EXEC) == 0; }

bool executableMemoryAllowed() {
  static const bool allowed = probeExecutable();
  return allowed;
}

size_t physicalMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : SIZE_MAX;
}

Block BlockPool::take(size_t bytes, size_t waste) {
  Block replaced;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t best = idle_.size(), largest = idle_.size();
    for (size_t i = 0; i < idle_.size(); i++) {
      const size_t capacity = idle_[i].capacity();
      if (capacity >= bytes) {
        if (best == idle_.size() || capacity < idle_[best].capacity()) best = i;
      } else if (largest == idle_.size() || capacity > idle_[largest].capacity()) {
        largest = i;
      }
    }
    const bool fits = best < idle_.size() && (waste == 0 || idle_[best].capacity() / waste <= bytes + kPage);
    const size_t chosen = fits ? best : waste == 0 ? largest : idle_.size();
    if (chosen < idle_.size()) {
      replaced = std::move(idle_[chosen]);
      idleBytes_ -= replaced.capacity();
      idle_[chosen] = std::move(idle_.back());
      idle_.pop_back();
      if (fits) return replaced;
    }
  }
  { const Block freed = std::move(replaced); }
  return Block::allocate(bytes);
}

void BlockPool::give(Block block) {
  if (!block.data()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (block.capacity() > idleLimit_ - std::min(idleLimit_, idleBytes_)) return;
  idleBytes_ += block.capacity();
  idle_.push_back(std::move(block));
}

void BlockPool::trim() {
  std::vector<Block> freed;
  std::lock_guard<std::mutex> lock(mutex_);
  freed.swap(idle_);
  idleBytes_ = 0;
}

size_t BlockPool::idleBytes() {
  std::lock_guard<std::mutex> lock(mutex_);
  return idleBytes_;
}

}  // namespace filigree
