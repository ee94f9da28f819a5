// Memory the engine owns: aligned blocks, executable packings, and pools of blocks that runs reuse.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace filigree {

/// Owned memory, 64-byte aligned; from 2 MiB on a mapping of its own on huge pages where the system has them.
class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Block();

  /// At least `bytes` bytes; data() is null where the system has not got them.
  static Block allocate(size_t bytes);
  /// Like allocate, but always a mapping, for sealExecutable.
  static Block allocateMapped(size_t bytes);

  /// The first `bytes` bytes of an open file, shared with whoever maps it too and never written; executable where
  /// `code`. data() is null where the system refuses.
  static Block mapFile(int descriptor, size_t bytes, bool code);

  /// Makes a mapped block executable and read-only; false where the system forbids it.
  bool sealExecutable();

  uint8_t* data() const { return data_; }
  /// Usable bytes; at least what was asked for.
  size_t capacity() const { return capacity_; }

 private:
  void swap(Block& other);

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
  bool mapped_ = false;
};

/// True where memory can be made executable and FILIGREE_JIT is not "0". Probed once.
bool executableMemoryAllowed();

/// Physical memory in bytes; SIZE_MAX when unknown.
size_t physicalMemory();

/// Rounds up to a multiple of 64; the caller has made sure that this does not overflow.
inline size_t roundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }

/// Idle blocks for reuse. Thread-safe.
class BlockPool {
 public:
  /// Gives up blocks beyond `idleLimit` bytes in total.
  explicit BlockPool(size_t idleLimit = SIZE_MAX) : idleLimit_(idleLimit) {}

  /// The smallest idle block of at least `bytes` bytes, else a new one in the place of an idle smaller one: so there
  /// are never more blocks than were in use at once. With `waste`, blocks of more than that many times the size are
  /// passed over and smaller ones stay. data() is null when memory is exhausted.
  Block take(size_t bytes, size_t waste = 0);
  void give(Block block);
  /// Frees idle blocks.
  void trim();
  size_t idleBytes();

 private:
  std::mutex mutex_;
  std::vector<Block> idle_;
  size_t idleBytes_ = 0;
  size_t idleLimit_;
};

}  // namespace filigree
