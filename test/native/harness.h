// What the engine's tests share: a check that names its line, and plans written by hand.
#pragma once
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/executor.h"
#include "engine/kernel_table.h"
#include "engine/memory.h"

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                      \
    }                                                                                    \
  } while (false)

namespace filigree {

/// Writes the numbers of a plan.
struct PlanWriter {
  double arenaBytes = 0;
  std::vector<double> inputs, outputs, buffers, instructions;
  size_t constants = 0, bufferCount = 0, instructionCount = 0;

  enum Kind { kArena, kInput, kOutput, kConstant };

  int buffer(Kind kind, int index, double offset, double bytes, double s0 = 0, double s1 = 0, double s2 = 0) {
    buffers.insert(buffers.end(), {double(kind), double(index), offset, bytes, s0, s1, s2});
    return static_cast<int>(bufferCount++);
  }
  void step(const char* kernel, std::initializer_list<int> operands, std::initializer_list<double> numbers) {
    const KernelList& list = kernelsOf(Isa::kPortable);
    int id = 0;
    while (id < list.count && std::string(list.kernels[id]->name) != kernel) id++;
    CHECK(id < list.count);
    append({1, double(id), double(operands.size())});
    for (int operand : operands) instructions.push_back(operand);
    instructions.push_back(double(numbers.size()));
    instructions.insert(instructions.end(), numbers);
  }
  void loop(double count, bool parallel) { append({2, count, parallel ? 1.0 : 0.0}); }
  void end() { append({3}); }

  std::vector<double> numbers() const {
    std::vector<double> out = {0xF111,
                               1,
                               arenaBytes,
                               double(inputs.size()),
                               double(outputs.size()),
                               double(constants),
                               double(bufferCount),
                               double(instructionCount)};
    for (const auto* part : {&inputs, &outputs, &buffers, &instructions}) {
      out.insert(out.end(), part->begin(), part->end());
    }
    return out;
  }

 private:
  void append(std::initializer_list<double> numbers) {
    instructions.insert(instructions.end(), numbers);
    instructionCount++;
  }
};

/// Decodes a plan that must be valid.
inline std::unique_ptr<Plan> decoded(const PlanWriter& writer, std::vector<ConstantBytes> constants = {}) {
  std::string problem;
  const std::vector<double> numbers = writer.numbers();
  auto plan = decodePlan(Isa::kPortable, numbers.data(), numbers.size(), std::move(constants), SIZE_MAX, &problem);
  if (!plan) std::fprintf(stderr, "%s\n", problem.c_str());
  CHECK(plan);
  return plan;
}

/// Gives helpers a moment to join, so that sections do run on several threads.
inline void awaitHelpers(const Gang& gang, int threads) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(50);
  while (gang.size() < threads && Clock::now() < deadline) std::this_thread::yield();
}

/// Runs a plan with buffers of exactly the sizes it asks for.
class PlanRun {
 public:
  explicit PlanRun(const Plan& plan) : plan_(plan), inputs(plan.inputBytes.size()), outputs(plan.outputBytes.size()) {
    for (size_t i = 0; i < inputs.size(); i++) inputs[i].resize(plan.inputBytes[i]);
    for (size_t i = 0; i < outputs.size(); i++) outputs[i].resize(plan.outputBytes[i]);
  }

  RunOutcome run(Pool* pool, int threads, const std::atomic<bool>* abort = nullptr, double* profile = nullptr) {
    std::vector<uint8_t*> bases = {nullptr};
    for (auto& input : inputs) bases.push_back(input.data());
    for (auto& output : outputs) bases.push_back(output.data());
    for (const ConstantBytes& constant : plan_.constants) bases.push_back(constant.data);
    const size_t bytes = plan_.runBytes(threads);
    CHECK(bytes != SIZE_MAX);
    std::unique_ptr<uint8_t, void (*)(void*)> work(
        static_cast<uint8_t*>(std::aligned_alloc(64, roundUp64(bytes) + (bytes == 0 ? 64 : 0))), std::free);
    CHECK(work);
    struct Shared {
      const Plan& plan;
      RunMemory memory;
      RunOutcome outcome;
    } shared{plan_, {bases.data(), work.get(), threads, profile, abort}, {}};
    const auto body = [](void* at, Gang& gang) {
      Shared* s = static_cast<Shared*>(at);
      awaitHelpers(gang, s->memory.threads);
      s->outcome = runPlan(s->plan, s->memory, gang);
    };
    if (pool) {
      pool->lead(threads, body, &shared);
    } else {
      Gang alone(1, 0);
      body(&shared, alone);
    }
    return shared.outcome;
  }

 private:
  const Plan& plan_;

 public:
  std::vector<std::vector<uint8_t>> inputs, outputs;
};

}  // namespace filigree
