// Mutated plans: the decoder must refuse or accept them, and what it accepts must stay inside its buffers. Numbers are
// changed blindly, and whole records by the structure of the format, so that many mutants are accepted. The kernels
// here are the test's own; `npm run fuzz -- --subject plans` does the same to plans of models with all real kernels.
// Deterministic; an argument multiplies the number of rounds.
#include <algorithm>
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

/// A valid plan taken apart.
struct Records {
  std::vector<double> head;
  std::vector<std::vector<double>> buffers, instructions;

  explicit Records(const std::vector<double>& numbers) {
    auto at = numbers.begin();
    const auto take = [&](double count) {
      const auto from = at;
      at += static_cast<ptrdiff_t>(count);
      return std::vector<double>(from, at);
    };
    head = take(8 + numbers[3] + numbers[4]);
    for (double i = 0; i < numbers[6]; i++) buffers.push_back(take(7));
    for (double i = 0; i < numbers[7]; i++) {
      const double operands = *at == 1 ? at[2] : 0;
      const double length = *at == 1 ? 4 + operands + at[3 + static_cast<ptrdiff_t>(operands)] : *at == 2 ? 3 : 1;
      instructions.push_back(take(length));
    }
  }

  std::vector<double> numbers() {
    head[6] = static_cast<double>(buffers.size());
    head[7] = static_cast<double>(instructions.size());
    std::vector<double> out = head;
    for (const auto* list : {&buffers, &instructions}) {
      for (const auto& record : *list) out.insert(out.end(), record.begin(), record.end());
    }
    return out;
  }
};

/// Changes one record, or the order of records, and keeps the counts right.
void mutateRecords(Random& random, Records* plan) {
  std::vector<std::vector<double>>& list = plan->instructions;
  const auto place = [&](size_t extra) {
    return list.begin() + static_cast<ptrdiff_t>(random() % (list.size() + extra));
  };
  const auto anyOf = [&](std::vector<double>& record) -> double& { return record[random() % record.size()]; };
  if (list.empty()) return;
  switch (random() % 8) {
    case 0:
      list.erase(place(0));
      break;
    case 1: {
      const std::vector<double> copy = *place(0);
      list.insert(place(1), copy);
      break;
    }
    case 2:
      std::iter_swap(place(0), place(0));
      break;
    case 3: {
      const size_t from = random() % list.size(), to = from + 1 + random() % (list.size() - from);
      list.insert(list.begin() + static_cast<ptrdiff_t>(to), {3});
      list.insert(list.begin() + static_cast<ptrdiff_t>(from), {2, double(random() % 5), double(random() % 2)});
      break;
    }
    case 4:
    case 5: {
      std::vector<double>& buffer = plan->buffers[random() % plan->buffers.size()];
      buffer[random() % 7] = interesting(random, buffer);
      break;
    }
    case 6: {
      std::vector<double>& step = *place(0);
      if (step.size() > 4) step[3 + random() % (step.size() - 4)] = double(random() % 9) - 1;
      break;
    }
    default: {
      std::vector<double>& record = *place(0);
      anyOf(record) = interesting(random, record);
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
  int accepted = 0, executed = 0, stopped = 0;
  Pool pool(2, 2000);
  for (int round = 0; round < rounds; round++) {
    std::vector<double> numbers = seedPlan(round % 3).numbers();
    if (round > 3 && random() % 2 == 0) {
      Records records(numbers);
      for (uint64_t changes = 1 + random() % 4; changes > 0; changes--) mutateRecords(random, &records);
      numbers = records.numbers();
    } else if (round > 3) {
      mutate(random, &numbers);
    }
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
    Pool* const helpers = threads > 1 ? &pool : nullptr;
    CHECK(run.run(helpers, threads).status != RunOutcome::kAborted);
    // A run that is told to stop at once does so wherever there is anything left to do.
    const std::atomic<bool> abort{true};
    if (round % 7 == 0) stopped += run.run(helpers, threads, &abort).status == RunOutcome::kAborted;
  }
  std::printf("%d plans, %d accepted, %d executed, %d stopped\n", rounds, accepted, executed, stopped);
  CHECK(accepted > rounds / 10 && executed > accepted / 2 && stopped > executed / 20);
  return 0;
}

}  // namespace filigree

int main(int argc, char** argv) { return filigree::fuzz(60000 * (argc > 1 ? std::atoi(argv[1]) : 1)); }
