#include "engine/executor.h"

#include <algorithm>
#include <chrono>

namespace filigree {

namespace {

/// Empty inputs and outputs are there all the same.
alignas(64) uint8_t nothing[64];

double clockNs() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::nano>(Clock::now().time_since_epoch()).count();
}

/// What all threads of a run share.
struct Run {
  const Plan& plan;
  const RunMemory& memory;
  Gang& gang;
  double start = 0;
  std::atomic<const char*> error{nullptr};
  std::atomic<int> failedAt{-1};
  std::atomic<bool> aborted{false};

  void fail(const char* text, int instruction) {
    const char* none = nullptr;
    if (error.compare_exchange_strong(none, text)) failedAt.store(instruction);
  }

  /// True where the run is over before its end.
  bool stopped() {
    if (memory.abort && memory.abort->load(std::memory_order_relaxed)) aborted.store(true, std::memory_order_relaxed);
    return aborted.load(std::memory_order_relaxed) || error.load(std::memory_order_relaxed);
  }

  uint8_t* scratchOf(int thread) const {
    const size_t at = (plan.arenaBytes + 63) / 64 * 64 + plan.scratchBytes * static_cast<size_t>(thread);
    return memory.work + at;
  }

  /// Where the arena of a thread of a parallel loop would begin: only its private part exists.
  uint8_t* arenaOf(int thread) const {
    if (thread == 0 || plan.privateBytes() == 0) return memory.work;
    const uintptr_t own =
        reinterpret_cast<uintptr_t>(scratchOf(memory.threads)) + plan.privateBytes() * static_cast<size_t>(thread - 1);
    return reinterpret_cast<uint8_t*>(own - plan.privateBegin);
  }
};

/// Walks instructions on one thread; the leader's walker, outside of parallel loops, shares its steps with the gang.
class Walker {
 public:
  Walker(Run* run, int thread, bool leader)
      : run_(run), plan_(run->plan), thread_(thread), leader_(leader), arena_(run->arenaOf(thread)) {}

  /// Runs instructions [from, to) within `depth` loops whose counters are set already.
  void walk(int from, int to, int depth) {
    for (int at = from; at < to && !run_->stopped();) {
      const Instruction& instruction = plan_.instructions[static_cast<size_t>(at)];
      const double start = leader_ && run_->memory.profile ? clockNs() : 0;
      const int next = advance(instruction, at, &depth);
      if (start > 0) record(at, start);
      at = next;
    }
  }

  void setCounter(int depth, int64_t value) { counters_[depth] = value; }

  /// Runs part `part` of `parts` of a step; all of it where parts is 1.
  void runPart(const Instruction& instruction, int number, int part, int parts) {
    Operand operands[kMaxOperands];
    const Step step = resolve(instruction, operands);
    Range range{0, instruction.work.units, run_->scratchOf(thread_), nullptr};
    if (parts > 1) splitUnits(*instruction.kernel, step, instruction.work.units, part, parts, &range);
    if (range.begin >= range.end) return;
    instruction.kernel->run(step, &range);
    if (range.error) run_->fail(range.error, number);
  }

 private:
  /// Executes one instruction and returns the number of the next.
  int advance(const Instruction& instruction, int at, int* depth) {
    switch (instruction.kind) {
      case Instruction::kStep:
        runStep(instruction, at);
        return at + 1;
      case Instruction::kLoop:
        if (instruction.count == 0) return instruction.match + 1;
        if (instruction.parallel && leader_) {
          runParallelLoop(instruction, at);
          return instruction.match + 1;
        }
        counters_[(*depth)++] = 0;
        return at + 1;
      case Instruction::kEnd:
        if (++counters_[*depth - 1] < instruction.count) return instruction.match + 1;
        counters_[--*depth] = 0;
        return at + 1;
    }
    return at + 1;
  }

  void runStep(const Instruction& instruction, int at) {
    const int threads = std::min(instruction.threads, run_->memory.threads);
    if (!leader_ || threads <= 1 || run_->gang.size() == 1) {
      runPart(instruction, at, 0, 1);
      return;
    }
    struct Shared {
      Walker* walker;
      const Instruction& instruction;
      int at;
    } shared{this, instruction, at};
    run_->gang.parallel(
        threads,
        [](void* context, int thread, int count) {
          const Shared& s = *static_cast<Shared*>(context);
          if (thread == 0) {
            s.walker->runPart(s.instruction, s.at, 0, count);
            return;
          }
          Walker helper(*s.walker, thread);
          helper.runPart(s.instruction, s.at, thread, count);
        },
        &shared);
  }

  void runParallelLoop(const Instruction& loop, int at) {
    struct Shared {
      Run* run;
      const Instruction& loop;
      int at;
      std::atomic<int64_t> next;
    } shared{run_, loop, at, 0};
    run_->gang.parallel(
        std::min(loop.threads, run_->memory.threads),
        [](void* context, int thread, int) {
          Shared& s = *static_cast<Shared*>(context);
          Walker walker(s.run, thread, false);
          while (!s.run->stopped()) {
            const int64_t iteration = s.next.fetch_add(1, std::memory_order_relaxed);
            if (iteration >= s.loop.count) return;
            walker.setCounter(0, iteration);
            walker.walk(s.at + 1, s.loop.match, 1);
          }
        },
        &shared);
  }

  /// A helper in a step that `leader` shares: same counters, same arena, scratch of its own.
  Walker(const Walker& leader, int thread)
      : run_(leader.run_), plan_(leader.plan_), thread_(thread), leader_(false), arena_(leader.arena_) {
    std::copy(leader.counters_, leader.counters_ + kMaxLoops, counters_);
  }

  Step resolve(const Instruction& instruction, Operand* operands) const {
    const int32_t* numbers = plan_.operands.data() + instruction.firstOperand;
    for (int i = 0; i < instruction.operandCount; i++) {
      if (numbers[i] < 0) {
        operands[i] = {nullptr, 0};
        continue;
      }
      const PlanBuffer& buffer = plan_.buffers[static_cast<size_t>(numbers[i])];
      int64_t offset = buffer.offset;
      for (int d = 0; d < kMaxLoops; d++) offset += counters_[d] * buffer.strides[d];
      uint8_t* base = buffer.base == 0 ? arena_ : run_->memory.bases[buffer.base];
      operands[i] = {base ? base + offset : nothing, buffer.bytes};
    }
    return {operands, instruction.operandCount, plan_.words.data() + instruction.firstWord, instruction.wordCount};
  }

  void record(int at, double start) {
    double* entry = run_->memory.profile + 2 * static_cast<size_t>(at);
    if (entry[0] == 0) entry[0] = start - run_->start;
    entry[1] += clockNs() - start;
  }

  Run* run_;
  const Plan& plan_;
  const int thread_;
  const bool leader_;
  uint8_t* const arena_;
  /// Counters of the loops around the current instruction; those of loops that are over are 0.
  int64_t counters_[kMaxLoops] = {0, 0, 0};
};

}  // namespace

void splitUnits(const KernelDef& kernel, const Step& step, int64_t units, int part, int parts, Range* range) {
  if (kernel.boundary) {
    range->begin = kernel.boundary(step, part, parts);
    range->end = kernel.boundary(step, part + 1, parts);
    return;
  }
  const int64_t share = units / parts, rest = units % parts;
  range->begin = share * part + std::min<int64_t>(part, rest);
  range->end = range->begin + share + (part < rest ? 1 : 0);
}

RunOutcome runPlan(const Plan& plan, const RunMemory& memory, Gang& gang) {
  Run run{plan, memory, gang};
  memory.bases[0] = memory.work;
  if (memory.profile) {
    std::fill(memory.profile, memory.profile + 2 * plan.instructions.size(), 0.0);
    run.start = clockNs();
  }
  Walker(&run, 0, true).walk(0, static_cast<int>(plan.instructions.size()), 0);
  RunOutcome outcome;
  if (run.error.load()) {
    outcome = {RunOutcome::kFailed, run.error.load(), run.failedAt.load()};
  } else if (run.aborted.load()) {
    outcome.status = RunOutcome::kAborted;
  }
  return outcome;
}

std::string describeFailure(const Plan& plan, const RunOutcome& outcome) {
  const size_t number = static_cast<size_t>(outcome.instruction);
  const std::string kernel = number < plan.instructions.size() ? plan.instructions[number].kernel->name : "?";
  return "instruction " + std::to_string(outcome.instruction) + " (" + kernel + "): " + outcome.error;
}

}  // namespace filigree
