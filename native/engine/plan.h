// Plans: the numbers that the planner writes, decoded and checked once, ready to run.
//
// A plan is a list of whole numbers held in doubles:
//   header        magic 0xF111, version 1, arenaBytes, nInputs, nOutputs, nConstants, nBuffers, nInstructions
//   sizes         bytes of each input, then bytes of each output
//   buffers       kind (0 arena, 1 input, 2 output, 3 constant), index (0 for arena), byteOffset, bytes, stride0,
//                 stride1, stride2
//   instructions  STEP: 1, kernel, nOperands, buffer numbers (-1 = omitted), nNumbers, numbers (doubles as the kernel's
//                 parameters want them)
//                 LOOP: 2, count, parallel (0 or 1)
//                 END:  3
// A buffer lies at base(kind, index) + byteOffset + sum(counter of the d-th enclosing loop * stride_d), the outermost
// loop being number 0; the strides of loops that do not enclose a step do not count. Loops nest three deep. The
// iterations of a parallel loop, which is outermost, are dealt to threads, each of which has an arena of its own there:
// an arena buffer is used either inside parallel loops or outside.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "engine/kernel.h"

namespace filigree {

inline constexpr int kMaxLoops = 3;
inline constexpr int kMaxOperands = 64;

struct PlanBuffer {
  /// Index in Plan::bases order: arena, inputs, outputs, constants.
  int32_t base;
  int64_t offset;
  size_t bytes;
  int64_t strides[kMaxLoops];
};

struct Instruction {
  enum Kind : int32_t { kStep = 1, kLoop = 2, kEnd = 3 };
  Kind kind;
  /// Step: what runs, on which buffers (numbers from Plan::operands), with which words.
  const KernelDef* kernel = nullptr;
  int32_t firstOperand = 0, operandCount = 0;
  int32_t firstWord = 0, wordCount = 0;
  Work work{0, 0, 0};
  /// Most threads that are worth using here.
  int threads = 1;
  /// Loop and end: number of the other.
  int32_t match = -1;
  int64_t count = 0;
  bool parallel = false;
};

/// Memory of a constant as the decoder sees it.
struct ConstantBytes {
  uint8_t* data;
  size_t bytes;
};

/// A valid plan: every address that a run computes lies inside its base. Immutable.
struct Plan {
  Isa isa = Isa::kPortable;
  size_t arenaBytes = 0;
  std::vector<size_t> inputBytes, outputBytes;
  std::vector<ConstantBytes> constants;
  std::vector<PlanBuffer> buffers;
  std::vector<Instruction> instructions;
  std::vector<int32_t> operands;
  std::vector<int64_t> words;
  int steps = 0;
  /// Largest scratch of a step, a multiple of 64.
  size_t scratchBytes = 0;
  /// The part of the arena that parallel loops use: [begin, end), multiples of 64; further threads have their own.
  size_t privateBegin = 0, privateEnd = 0;
  /// Most threads that any instruction can use.
  int threads = 1;

  size_t baseCount() const { return 1 + inputBytes.size() + outputBytes.size() + constants.size(); }
  size_t privateBytes() const { return privateEnd - privateBegin; }
  /// Working memory of a run on `threads` threads: arena, scratch of each, private arenas of all but the first.
  size_t runBytes(int threads) const;
};

/// Decodes and validates. Returns null and sets `problem`, which names the instruction and its kernel, where anything
/// is wrong; reads nothing outside `numbers`.
std::unique_ptr<Plan> decodePlan(Isa isa, const double* numbers, size_t count, std::vector<ConstantBytes> constants,
                                 size_t maxArenaBytes, std::string* problem);

}  // namespace filigree
