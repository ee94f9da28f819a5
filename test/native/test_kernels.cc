// Small kernels for the engine's tests, in the place of the real ones on every instruction set.
#include <cstring>

#include "engine/kernel.h"

namespace filigree {

namespace {

constexpr int64_t kChunk = 64;

bool holds(const Step& step, int operand, int64_t bytes) {
  return bytes >= 0 && static_cast<uint64_t>(bytes) <= step.operands[operand].bytes;
}

/// Costs enough for every thread to get a part.
void spread(int64_t units, Work* work) { *work = {units, static_cast<double>(units) * 10000, 0}; }

const char* checkCopy(const Step& step, Work* work) {
  if (!holds(step, 0, step.words[0]) || !holds(step, 1, step.words[0])) return "too small";
  spread((step.words[0] + kChunk - 1) / kChunk, work);
  return nullptr;
}

void runCopy(const Step& step, Range* range) {
  for (int64_t i = range->begin * kChunk; i < range->end * kChunk && i < step.words[0]; i++) {
    step.operands[1].data[i] = step.operands[0].data[i];
  }
}

// y[i] += 1 for each unit i, in parts whose sizes grow.
const char* checkCount(const Step& step, Work* work) {
  if (!holds(step, 0, step.words[0])) return "too small";
  spread(step.words[0], work);
  return nullptr;
}

void runCount(const Step& step, Range* range) {
  for (int64_t i = range->begin; i < range->end; i++) step.operands[0].data[i]++;
}

int64_t countBoundary(const Step& step, int part, int parts) {
  const double share = static_cast<double>(part) / parts;
  return part == parts ? step.words[0] : static_cast<int64_t>(share * share * static_cast<double>(step.words[0]));
}

// y[i] = value + b[0] (if there is a b), each passed through scratch, for a list of positions.
const char* checkScratch(const Step& step, Work* work) {
  const int64_t count = step.words[1];
  for (int64_t i = 0; i < count; i++) {
    if (step.words[2 + i] < 0 || !holds(step, 1, step.words[2 + i] + 1)) return "a position outside";
  }
  if (step.operands[0].data && !holds(step, 0, 1)) return "b is empty";
  spread(count, work);
  work->scratch = 100;
  return nullptr;
}

void runScratch(const Step& step, Range* range) {
  double value;
  std::memcpy(&value, step.words, sizeof value);
  std::memset(range->scratch, step.operands[0].data ? step.operands[0].data[0] : 0, 100);
  for (int64_t i = range->begin; i < range->end; i++) {
    range->scratch[99] = static_cast<uint8_t>(range->scratch[0] + static_cast<int>(value));
    step.operands[1].data[step.words[2 + i]] = range->scratch[99];
  }
}

// Fails where x[i] is 1.
const char* checkFail(const Step& step, Work* work) {
  if (!holds(step, 0, step.words[0])) return "too small";
  spread(step.words[0], work);
  return nullptr;
}

void runFail(const Step& step, Range* range) {
  for (int64_t i = range->begin; i < range->end; i++) {
    if (step.operands[0].data[i] == 1) range->error = "a one";
  }
}

const KernelDef kCopy = {"test.copy", "r:x w:y", "i:bytes", checkCopy, runCopy, nullptr, nullptr, false};
const KernelDef kCount = {"test.count", "rw:y", "i:units", checkCount, runCount, nullptr, countBoundary, false};
const KernelDef kScratch = {"test.scratch", "r:b? w:y", "f:value l:positions", checkScratch, runScratch, nullptr,
                            nullptr,        false};
const KernelDef kFail = {"test.fail", "r:x", "i:units", checkFail, runFail, nullptr, nullptr, false};

const KernelDef* const table[] = {&kCopy, &kCount, &kScratch, &kFail};

}  // namespace

#define TEST_LIST(isa)                      \
  namespace isa {                           \
  extern const KernelList kernelList;       \
  const KernelList kernelList = {table, 4}; \
  }
TEST_LIST(portable)
TEST_LIST(avx2)
TEST_LIST(avx512)
TEST_LIST(avx512vnni)
TEST_LIST(avx512bf16)
TEST_LIST(amx)

}  // namespace filigree
