// Runs a plan once.
#pragma once
#include <atomic>
#include <string>

#include "engine/plan.h"
#include "engine/pool.h"

namespace filigree {

/// What a run works on. The caller keeps all of it alive and checks sizes: bases[i] has the bytes that the plan says.
struct RunMemory {
  /// Plan::baseCount() pointers; the first (the arena) is filled in by the executor.
  uint8_t** bases = nullptr;
  /// Plan::runBytes(threads) bytes, 64-byte aligned.
  uint8_t* work = nullptr;
  int threads = 1;
  /// Two numbers an instruction, or null: start and elapsed nanoseconds.
  double* profile = nullptr;
  /// Set by others to stop the run; may be null.
  const std::atomic<bool>* abort = nullptr;
};

struct RunOutcome {
  enum Status { kDone, kAborted, kFailed };
  Status status = kDone;
  /// Failed: the kernel's text, and the number of the instruction.
  const char* error = nullptr;
  int instruction = -1;
};

/// Walks the plan on the gang's threads, at most memory.threads of them.
RunOutcome runPlan(const Plan& plan, const RunMemory& memory, Gang& gang);

/// The sentence that reports a failed run.
std::string describeFailure(const Plan& plan, const RunOutcome& outcome);

/// Units [begin, end) of part `part` of `parts`.
void splitUnits(const KernelDef& kernel, const Step& step, int64_t units, int part, int parts, Range* range);

}  // namespace filigree
