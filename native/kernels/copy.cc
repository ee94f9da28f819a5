// Byte movers: plain copies and fills.
#include <cstring>

#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int64_t kChunk = 64 * 1024;
constexpr double kBytesPerNs = 16;

void chunkWork(int64_t bytes, Work* work) {
  work->units = (bytes + kChunk - 1) / kChunk;
  work->cost = static_cast<double>(bytes) / kBytesPerNs;
  work->scratch = 0;
}

int64_t chunkEnd(int64_t unit, int64_t bytes) { return unit * kChunk < bytes ? unit * kChunk : bytes; }

const char* checkCopy(const Step& step, Work* work) {
  const int64_t bytes = intParam(step, 0);
  if (!holds(step, 0, bytes, 1)) return "x holds fewer than `bytes` bytes";
  if (!holds(step, 1, bytes, 1)) return "y holds fewer than `bytes` bytes";
  chunkWork(bytes, work);
  return nullptr;
}

void runCopy(const Step& step, Range* range) {
  const int64_t begin = range->begin * kChunk;
  const int64_t end = chunkEnd(range->end, intParam(step, 0));
  if (begin < end) {
    std::memmove(output<uint8_t>(step, 1) + begin, input<uint8_t>(step, 0) + begin, static_cast<size_t>(end - begin));
  }
}

size_t packedBytes(const Step& step) { return static_cast<size_t>(intParam(step, 0)); }

constexpr int64_t kMaxPattern = 64;

const char* checkFill(const Step& step, Work* work) {
  const int64_t bytes = intParam(step, 0);
  const List pattern = listParam(step, 1, 0);
  if (!holds(step, 0, bytes, 1)) return "y holds fewer than `bytes` bytes";
  if (pattern.count < 1 || pattern.count > kMaxPattern || kMaxPattern % pattern.count != 0) {
    return "a pattern has 1, 2, 4, 8, 16, 32 or 64 bytes";
  }
  for (int64_t i = 0; i < pattern.count; i++) {
    if (pattern.items[i] < 0 || pattern.items[i] > 255) return "an item of the pattern is no byte";
  }
  chunkWork(bytes, work);
  return nullptr;
}

void runFill(const Step& step, Range* range) {
  const List pattern = listParam(step, 1, 0);
  uint8_t block[kMaxPattern];
  for (int64_t i = 0; i < kMaxPattern; i++) block[i] = static_cast<uint8_t>(pattern.items[i % pattern.count]);
  uint8_t* y = output<uint8_t>(step, 0);
  const int64_t end = chunkEnd(range->end, intParam(step, 0));
  int64_t at = range->begin * kChunk;
  for (; at + kMaxPattern <= end; at += kMaxPattern) std::memcpy(y + at, block, kMaxPattern);
  if (at < end) std::memcpy(y + at, block, static_cast<size_t>(end - at));
}

}  // namespace

// y = the first `bytes` bytes of x; y may be x.
FILIGREE_KERNEL(copyBytes) = {"copy.bytes", "r:x w:y", "i:bytes", checkCopy, runCopy, nullptr, nullptr, false};

// A copy as a constant: for contents that are not aligned where they lie.
FILIGREE_KERNEL(packBytes) = {"pack.bytes", "r:x w:packing", "i:bytes", checkCopy,
                              runCopy,      packedBytes,     nullptr,   false};

// `bytes` bytes of y hold the bytes of the pattern over and over.
FILIGREE_KERNEL(fillBytes) = {"fill.bytes", "w:y", "i:bytes l:pattern", checkFill, runFill, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
