// Mutated plans: the decoder must refuse or accept them, and what it accepts must stay inside its buffers.
// Deterministic; an argument multiplies the number of rounds.
#include <random>

#include "native/harness.h"

namespace filigree {

namespace {

PlanWriter seedPlan(int which) {
  PlanWriter w;
  w.arenaBytes = 640;
  w.inputs = {256, 64};
  w.outputs = {256, 64};
  w.constants = 2;
  const int x = w.buffer(PlanWriter::kInput, 0, 0, 64, 64);
  const int b = w.buffer(PlanWriter::kInput, 1, 3, 8);
  const int t = w.buffer(PlanWriter::kArena, 0, 128, 64);
  const int u = w.buffer(PlanWriter::kArena, 0, 192, 64, 0, 64, 64);
  const int y = w.buffer(PlanWriter::kOutput, 0, 192, 64, -64);
  const int z = w.buffer(PlanWriter::kOutput, 1, 0, 64);
  const int c = w.buffer(PlanWriter::kConstant, 1, 0, 32);
  const int whole = w.buffer(PlanWriter::kInput, 0, 0, 64);
  w.loop(4, which == 1);
  w.step("test.copy", {x, t}, {64});
  if (which == 2) {
    w.loop(2, false);
    w.loop(3, false);
    w.step("test.copy", {c, u}, {32});
    w.step("test.count", {u}, {20});
    w.end();
    w.end();
  }
  w.step("test.copy", {t, y}, {64});
  w.end();
  w.step("test.scratch", {b, z}, {2.5, 3, 1, 5, 63});
  w.step("test.scratch", {-1, z}, {1, 1, 0});
  w.step("test.fail", {whole}, {64});
  w.step("test.count", {z}, {64});
  return w;
}

using Random = std::mt19937_64;

double interesting(Random& random, const std::vector<double>& numbers) {
  static const double values[] = {0,
                                  1,
                                  -1,
                                  2,
                                  3,
                                  4,
                                  7,
                                  8,
                                  63,
                                  64,
                                  65,
                                  255,
                                  256,
                                  257,
                                  640,
                                  641,
                                  0.5,
                                  1e9,
                                  -64,
                                  2147483648.0,
                                  4294967296.0,
                                  281474976710656.0,
                                  9007199254740992.0,
                                  -9007199254740992.0,
                                  1e300,
                                  -1e300,
                                  1.0 / 0.0,
                                  0.0 / 0.0};
  switch (random() % 3) {
    case 0:
      return values[random() % (sizeof values / sizeof values[0])];
    case 1:
      return numbers[random() % numbers.size()];
    default:
      return static_cast<double>(static_cast<int64_t>(random() % 600) - 100);
  }
}

void mutate(Random& random, std::vector<double>* numbers) {
  const uint64_t changes = 1 + random() % 4;
  for (uint64_t i = 0; i < changes && !numbers->empty(); i++) {
    const size_t at = random() % numbers->size();
    switch (random() % 8) {
      case 0:
        numbers->resize(at);
        break;
      case 1:
        numbers->insert(numbers->begin() + at, interesting(random, *numbers));
        break;
      case 2:
        numbers->erase(numbers->begin() + at);
        break;
      case 3:
        (*numbers)[at] += static_cast<double>(random() % 5) - 2;
        break;
      default:
        (*numbers)[at] = interesting(random, *numbers);
    }
  }
}

/// Instructions that a run executes, or more than `limit`.
double dynamicLength(const Plan& plan) {
  double total = 0, factor = 1;
  std::vector<double> factors;
  for (const Instruction& instruction : plan.instructions) {
    if (instruction.kind == Instruction::kLoop) {
      factors.push_back(factor);
      factor *= static_cast<double>(instruction.count);
    }
    total += factor * (1 + static_cast<double>(instruction.work.units));
    if (instruction.kind == Instruction::kEnd) {
      factor = factors.back();
      factors.pop_back();
    }
  }
  return total;
}

bool small(const Plan& plan) {
  size_t bytes = plan.runBytes(4);
  if (bytes > 1 << 20) return false;
  for (size_t size : plan.inputBytes) bytes = size > (1 << 20) ? SIZE_MAX / 2 : bytes + size;
  for (size_t size : plan.outputBytes) bytes = size > (1 << 20) ? SIZE_MAX / 2 : bytes + size;
  return bytes < (1 << 22) && dynamicLength(plan) < 20000;
}

}  // namespace

int fuzz(int rounds) {
  Random random(20240607);
  std::vector<uint8_t> constants[2] = {std::vector<uint8_t>(16), std::vector<uint8_t>(32)};
  int accepted = 0, executed = 0;
  Pool pool(2, 2000);
  for (int round = 0; round < rounds; round++) {
    std::vector<double> numbers = seedPlan(round % 3).numbers();
    if (round > 3) mutate(random, &numbers);
    // A copy of exactly this size, so that reading past it is seen.
    const std::unique_ptr<double[]> exact(new double[numbers.size()]);
    std::copy(numbers.begin(), numbers.end(), exact.get());
    std::string problem;
    const auto plan = decodePlan(Isa::kPortable, exact.get(), numbers.size(),
                                 {{constants[0].data(), 16}, {constants[1].data(), 32}}, size_t{1} << 30, &problem);
    CHECK((plan == nullptr) == !problem.empty());
    CHECK(round >= 3 || plan);
    if (!plan) continue;
    accepted++;
    if (!small(*plan)) continue;
    executed++;
    PlanRun run(*plan);
    const int threads = 1 + round % 3;
    CHECK(run.run(threads > 1 ? &pool : nullptr, threads).status != RunOutcome::kAborted);
  }
  std::printf("%d plans, %d accepted, %d executed\n", rounds, accepted, executed);
  CHECK(accepted > rounds / 50 && executed > accepted / 2);
  return 0;
}

}  // namespace filigree

int main(int argc, char** argv) { return filigree::fuzz(60000 * (argc > 1 ? std::atoi(argv[1]) : 1)); }
