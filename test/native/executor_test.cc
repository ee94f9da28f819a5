// The executor: splitting of steps, loops, private arenas, scratch, errors, abortion.
#include <chrono>
#include <cstring>
#include <thread>

#include "native/harness.h"

namespace filigree {

namespace {

void fillCounting(std::vector<uint8_t>* bytes) {
  for (size_t i = 0; i < bytes->size(); i++) (*bytes)[i] = static_cast<uint8_t>(i * 7 + i / 256 + 2);
}

void stepsAreSplit(Pool* pool, int threads) {
  PlanWriter writer;
  const double size = 5000;
  writer.arenaBytes = size;
  writer.inputs = {size};
  writer.outputs = {size, 1000};
  const int x = writer.buffer(PlanWriter::kInput, 0, 0, size);
  const int t = writer.buffer(PlanWriter::kArena, 0, 0, size);
  const int y = writer.buffer(PlanWriter::kOutput, 0, 0, size);
  const int counts = writer.buffer(PlanWriter::kOutput, 1, 0, 1000);
  writer.step("test.copy", {x, t}, {size});
  writer.step("test.copy", {t, y}, {size});
  writer.step("test.count", {counts}, {1000});
  writer.step("test.count", {counts}, {3});
  const auto plan = decoded(writer);
  CHECK(plan->threads > 1);
  for (int round = 0; round < 50; round++) {
    PlanRun run(*plan);
    fillCounting(&run.inputs[0]);
    std::vector<double> profile(8);
    CHECK(run.run(pool, threads, nullptr, profile.data()).status == RunOutcome::kDone);
    CHECK(run.outputs[0] == run.inputs[0]);
    for (size_t i = 0; i < 1000; i++) CHECK(run.outputs[1][i] == (i < 3 ? 2 : 1));
    for (double ns : profile) CHECK(ns >= 0);
  }
}

void parallelLoops(Pool* pool, int threads) {
  PlanWriter writer;
  const double rows = 40, row = 300;
  writer.arenaBytes = 1000;
  writer.inputs = {rows * row};
  writer.outputs = {rows * row, rows};
  const int x = writer.buffer(PlanWriter::kInput, 0, (rows - 1) * row, row / 3, -row, row / 3);
  const int t = writer.buffer(PlanWriter::kArena, 0, 200, row / 3, 0, row / 3);
  const int y = writer.buffer(PlanWriter::kOutput, 0, 0, row / 3, row, row / 3);
  const int done = writer.buffer(PlanWriter::kOutput, 1, 0, 1, 1);
  writer.loop(rows, true);
  writer.loop(3, false);
  writer.step("test.copy", {x, t}, {row / 3});
  writer.end();
  writer.loop(3, false);
  writer.step("test.copy", {t, y}, {row / 3});
  writer.end();
  writer.step("test.scratch", {-1, done}, {7, 1, 0});
  writer.end();
  const auto plan = decoded(writer);
  CHECK(plan->privateBegin == 192 && plan->privateEnd == 512);
  for (int round = 0; round < 50; round++) {
    PlanRun run(*plan);
    fillCounting(&run.inputs[0]);
    CHECK(run.run(pool, threads).status == RunOutcome::kDone);
    for (size_t r = 0; r < 40; r++) {
      CHECK(std::memcmp(run.outputs[0].data() + r * 300, run.inputs[0].data() + (39 - r) * 300, 300) == 0);
      CHECK(run.outputs[1][r] == 7);
    }
  }
}

/// Counters of a finished loop must not move the buffers of the next one's steps.
void countersAreReset() {
  PlanWriter writer;
  writer.outputs = {8};
  const int moving = writer.buffer(PlanWriter::kOutput, 0, 0, 1, 1);
  writer.loop(8, false);
  writer.step("test.count", {moving}, {1});
  writer.end();
  writer.step("test.count", {moving}, {1});
  writer.loop(2, false);
  writer.step("test.count", {moving}, {1});
  writer.end();
  const auto plan = decoded(writer);
  PlanRun run(*plan);
  CHECK(run.run(nullptr, 1).status == RunOutcome::kDone);
  CHECK((run.outputs[0] == std::vector<uint8_t>{3, 2, 1, 1, 1, 1, 1, 1}));
}

void scratchIsPrivate(Pool* pool, int threads) {
  PlanWriter writer;
  uint8_t constant = 30;
  writer.constants = 1;
  writer.outputs = {6};
  const int b = writer.buffer(PlanWriter::kConstant, 0, 0, 1);
  const int y = writer.buffer(PlanWriter::kOutput, 0, 0, 6);
  writer.step("test.scratch", {b, y}, {12, 6, 0, 1, 2, 3, 4, 5});
  const auto plan = decoded(writer, {{&constant, 1}});
  CHECK(plan->scratchBytes == 128);
  for (int round = 0; round < 100; round++) {
    PlanRun run(*plan);
    CHECK(run.run(pool, threads).status == RunOutcome::kDone);
    for (uint8_t value : run.outputs[0]) CHECK(value == 42);
  }
}

void errorsStopTheRun(Pool* pool, int threads) {
  PlanWriter writer;
  writer.inputs = {500};
  writer.outputs = {1};
  const int x = writer.buffer(PlanWriter::kInput, 0, 0, 500);
  const int y = writer.buffer(PlanWriter::kOutput, 0, 0, 1);
  writer.loop(2, false);
  writer.step("test.fail", {x}, {500});
  writer.step("test.count", {y}, {1});
  writer.end();
  const auto plan = decoded(writer);
  for (int round = 0; round < 20; round++) {
    PlanRun run(*plan);
    CHECK(run.run(pool, threads).status == RunOutcome::kDone && run.outputs[0][0] == 2);
    run.inputs[0][499 - round] = 1;
    const RunOutcome outcome = run.run(pool, threads);
    CHECK(outcome.status == RunOutcome::kFailed && outcome.instruction == 1 && run.outputs[0][0] == 2);
    CHECK(describeFailure(*plan, outcome) == "instruction 1 (test.fail): a one");
  }
}

void abortionStopsTheRun(Pool* pool, int threads, bool parallel) {
  PlanWriter writer;
  writer.outputs = {1000};
  const int y = writer.buffer(PlanWriter::kOutput, 0, 0, 1000);
  writer.loop(2147483648.0, parallel);
  writer.step("test.copy", {y, y}, {parallel ? 0.0 : 1000.0});
  writer.end();
  const auto plan = decoded(writer);
  PlanRun run(*plan);
  std::atomic<bool> abort{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    abort.store(true);
  });
  CHECK(run.run(pool, threads, &abort).status == RunOutcome::kAborted);
  stopper.join();
}

}  // namespace

}  // namespace filigree

int main() {
  using namespace filigree;
  Pool pool(3, 20000);
  for (int threads : {1, 2, 4}) {
    stepsAreSplit(&pool, threads);
    parallelLoops(&pool, threads);
    scratchIsPrivate(&pool, threads);
    errorsStopTheRun(&pool, threads);
    abortionStopsTheRun(&pool, threads, false);
    abortionStopsTheRun(&pool, threads, true);
  }
  countersAreReset();
  return 0;
}
