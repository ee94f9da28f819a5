// Chains of elementwise float32 operations over one space: what lies between is never written to memory.
#include "kernels/elementwise.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kMaxInputs = 8;
constexpr int kChainRegisters = 8;
constexpr int64_t kMaxInstructions = 64;

/// One operation. Sources 0 to 7 are the inputs, 8 to 15 the registers, which `target` numbers from 8 too.
struct Instruction {
  int64_t kind, op, target, a, b, c, alpha, beta;
};
constexpr int64_t kInstructionSize = 8;
enum Kind : int64_t { kUnaryKind, kBinaryKind, kSelectKind };  // select: a != 0 ? b : c

float parameter(int64_t bits) { return floatOfBits(static_cast<uint32_t>(bits)); }

const char* checkInstruction(const Instruction& at, uint32_t* known) {
  if (at.kind == kUnaryKind ? !unaryRun(at.op) : at.kind == kBinaryKind ? !binaryRun(at.op) : at.kind != kSelectKind) {
    return "an instruction is unknown";
  }
  if (at.target < kMaxInputs || at.target >= kMaxInputs + kChainRegisters) return "a target is no register";
  const int64_t sources[] = {at.a, at.kind == kUnaryKind ? at.a : at.b, at.kind == kSelectKind ? at.c : at.a};
  for (int64_t source : sources) {
    if (source < 0 || source >= kMaxInputs + kChainRegisters) return "a source is out of range";
    if (!(*known >> source & 1)) return "a source has no value";
  }
  *known |= 1u << at.target;
  return nullptr;
}

const char* checkChain(const Step& step, Work* work) {
  Space space;
  if (const char* problem = readSpace(listParam(step, 0, 0), &space)) return problem;
  const List strides = listParam(step, 0, 1), program = listParam(step, 0, 2);
  const int64_t rank = listParam(step, 0, 0).count;
  if (strides.count != rank * kMaxInputs) return "every input needs a stride for every dimension";
  uint32_t known = 0;
  for (int i = 0; i < kMaxInputs; i++) {
    if (step.operands[i].bytes == 0 && space.count > 0) continue;
    if (!reaches(step, i, space, {strides.items + i * rank, rank}, 0, 4)) return "the strides leave an input";
    known |= 1u << i;
  }
  if (!holds(step, kMaxInputs, space.count, 4)) return "y holds fewer elements than `dims`";
  const int64_t count = program.count / kInstructionSize;
  if (program.count % kInstructionSize != 0 || count < 1 || count > kMaxInstructions) {
    return "a program has 1 to 64 instructions of 8 numbers";
  }
  for (int64_t i = 0; i < count; i++) {
    Instruction at;
    std::memcpy(&at, program.items + i * kInstructionSize, sizeof at);
    if (const char* problem = checkInstruction(at, &known)) return problem;
  }
  elementWork(space.count, 0.15 * static_cast<double>(count + 1), work);
  return nullptr;
}

void select(const float* a, const float* b, const float* c, float* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; i++) {
    const float first = b[i], second = c[i];
    y[i] = a[i] != 0 ? first : second;
  }
}

/// One block through the program; sources are block pointers, the last result goes to y.
void execute(List program, const float** sources, float (*registers)[kBlock], float* y, int n) {
  const int64_t count = program.count / kInstructionSize;
  for (int64_t i = 0; i < count; i++) {
    Instruction at;
    std::memcpy(&at, program.items + i * kInstructionSize, sizeof at);
    float* to = i + 1 == count ? y : registers[at.target - kMaxInputs];
    if (at.kind == kUnaryKind) {
      unaryRun(at.op)(sources[at.a], to, n, parameter(at.alpha), parameter(at.beta));
    } else if (at.kind == kBinaryKind) {
      binaryRun(at.op)(sources[at.a], sources[at.b], to, n);
    } else {
      select(sources[at.a], sources[at.b], sources[at.c], to, n);
    }
  }
}

void runChain(const Step& step, Range* range) {
  const List dims = listParam(step, 0, 0), strides = listParam(step, 0, 1), program = listParam(step, 0, 2);
  Space space;
  readSpace(dims, &space);
  Fetcher<float> inputs[kMaxInputs];
  float registers[kChainRegisters][kBlock];
  const float* sources[kMaxInputs + kChainRegisters];
  for (int i = 0; i < kChainRegisters; i++) sources[kMaxInputs + i] = registers[i];
  for (int i = 0; i < kMaxInputs; i++) {
    sources[i] = nullptr;
    if (step.operands[i].data) {
      inputs[i].open(space, input<float>(step, i), {strides.items + i * dims.count, dims.count});
    }
  }
  const int64_t end = unitEnd(range->end, space.count);
  int64_t at = range->begin * kUnitElements;
  Cursor cursor = cursorAt(space, at);
  while (at < end) {
    const int n = blockLength(space, cursor, end - at);
    for (int i = 0; i < kMaxInputs; i++) {
      if (step.operands[i].data) sources[i] = inputs[i].block(space, cursor, n);
    }
    execute(program, sources, registers, output<float>(step, kMaxInputs) + at, n);
    advance(space, &cursor, n);
    at += n;
  }
}

}  // namespace

// A program over one space. `strides` holds the strides of all 8 inputs one after the other (anything for omitted
// ones). Instructions are {kind, op, target, a, b, c, alpha, beta}: kind 0 is a unary operation, 1 a binary one, 2 is
// a != 0 ? b : c; alpha and beta are the bits of float32 numbers. Sources 0-7 are inputs, 8-15 registers; the last
// instruction writes y, which may be an input that is dense over `dims`.
FILIGREE_KERNEL(chainF32) = {"chain.f32",
                             "r:x0 r:x1? r:x2? r:x3? r:x4? r:x5? r:x6? r:x7? w:y",
                             "l:dims l:strides l:program",
                             checkChain,
                             runChain,
                             nullptr,
                             nullptr,
                             false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
