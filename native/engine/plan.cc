#include "engine/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/kernel_table.h"
#include "engine/memory.h"

namespace filigree {

namespace {

constexpr double kMagic = 0xF111;
constexpr double kVersion = 1;
constexpr double kExact = 9007199254740992.0;
/// Below this a step is not worth waking anyone for; above, one thread for each kCostPerThread.
constexpr double kSerialCost = 4000;
constexpr double kCostPerThread = 10000;
constexpr int kMaxThreads = 1024;
/// A non-null stand-in for the data of operands that are there, while only sizes are known.
uint8_t* const kPresent = reinterpret_cast<uint8_t*>(uintptr_t{64});

std::string text(int64_t value) { return std::to_string(value); }

int threadsFor(double cost, int64_t units) {
  if (!(cost >= kSerialCost) || units < 2) return 1;
  const double wanted = std::max(2.0, std::ceil(std::min(cost, kExact) / kCostPerThread));
  return static_cast<int>(std::min({wanted, static_cast<double>(units), static_cast<double>(kMaxThreads)}));
}

class Decoder {
 public:
  Decoder(Isa isa, const double* numbers, size_t count, std::vector<ConstantBytes> constants, size_t maxArenaBytes,
          std::string* problem)
      : numbers_(numbers), count_(count), maxArenaBytes_(maxArenaBytes), problem_(problem), plan_(new Plan) {
    plan_->isa = isa;
    plan_->constants = std::move(constants);
  }

  std::unique_ptr<Plan> decode() {
    if (!readHeader() || !readBuffers() || !readInstructions()) return nullptr;
    if (at_ != count_) {
      fail(text(static_cast<int64_t>(count_ - at_)) + " numbers too many");
      return nullptr;
    }
    measureArenas();
    return std::move(plan_);
  }

 private:
  bool fail(const std::string& what) {
    *problem_ = "plan";
    if (instruction_ >= 0) *problem_ += ", instruction " + text(instruction_);
    if (kernel_) *problem_ += std::string(" (") + kernel_->name + ")";
    *problem_ += ": " + what;
    return false;
  }

  /// The next number; it must be whole and in [low, high].
  bool whole(const char* name, int64_t low, int64_t high, int64_t* out) {
    if (at_ >= count_) return fail(std::string("cut short where ") + name + " should stand");
    const double value = numbers_[at_++];
    if (!(std::fabs(value) <= kExact) || value != std::floor(value) || value < static_cast<double>(low) ||
        value > static_cast<double>(high)) {
      return fail(std::string(name) + " at number " + text(static_cast<int64_t>(at_ - 1)) + " is " +
                  std::to_string(value) + ", not a whole number from " + text(low) + " to " + text(high));
    }
    *out = static_cast<int64_t>(value);
    return true;
  }

  /// A count of records that take at least `least` numbers each.
  bool recordCount(const char* name, int64_t least, int64_t* out) {
    return whole(name, 0, static_cast<int64_t>(count_) / least, out);
  }

  bool readSizes(const char* name, int64_t count, std::vector<size_t>* out) {
    for (int64_t i = 0; i < count; i++) {
      int64_t bytes;
      if (!whole(name, 0, kMaxBytes, &bytes)) return false;
      out->push_back(static_cast<size_t>(bytes));
    }
    return true;
  }

  bool readHeader() {
    if (count_ < 8) return fail("no header");
    if (numbers_[0] != kMagic || numbers_[1] != kVersion) return fail("magic or version is not 0xF111, 1");
    at_ = 2;
    int64_t arena, inputs, outputs, constants;
    if (!whole("arenaBytes", 0, kMaxBytes, &arena) || !recordCount("nInputs", 1, &inputs) ||
        !recordCount("nOutputs", 1, &outputs) || !whole("nConstants", 0, kMaxBytes, &constants) ||
        !recordCount("nBuffers", 7, &buffers_) || !recordCount("nInstructions", 1, &instructions_)) {
      return false;
    }
    plan_->arenaBytes = static_cast<size_t>(arena);
    if (plan_->arenaBytes > maxArenaBytes_) {
      return fail("an arena of " + text(arena) + " bytes, more than the " + text(static_cast<int64_t>(maxArenaBytes_)) +
                  " allowed");
    }
    if (static_cast<size_t>(constants) != plan_->constants.size()) {
      return fail(text(constants) + " constants announced, " + text(static_cast<int64_t>(plan_->constants.size())) +
                  " given");
    }
    return readSizes("input bytes", inputs, &plan_->inputBytes) &&
           readSizes("output bytes", outputs, &plan_->outputBytes);
  }

  bool readBuffers() {
    const int64_t counts[4] = {1, static_cast<int64_t>(plan_->inputBytes.size()),
                               static_cast<int64_t>(plan_->outputBytes.size()),
                               static_cast<int64_t>(plan_->constants.size())};
    plan_->buffers.reserve(static_cast<size_t>(buffers_));
    for (int64_t i = 0; i < buffers_; i++) {
      int64_t kind, index, bytes;
      PlanBuffer buffer;
      if (!whole("buffer kind", 0, 3, &kind) || !whole("buffer index", 0, counts[kind] - 1, &index) ||
          !whole("buffer offset", 0, kMaxBytes, &buffer.offset) || !whole("buffer bytes", 0, kMaxBytes, &bytes)) {
        return false;
      }
      for (int64_t& stride : buffer.strides) {
        if (!whole("buffer stride", -kMaxBytes, kMaxBytes, &stride)) return false;
      }
      int64_t base = index;
      for (int64_t k = 0; k < kind; k++) base += counts[k];
      buffer.base = static_cast<int32_t>(base);
      buffer.bytes = static_cast<size_t>(bytes);
      plan_->buffers.push_back(buffer);
    }
    uses_.resize(plan_->buffers.size());
    return true;
  }

  size_t capacityOf(const PlanBuffer& buffer) const {
    size_t index = static_cast<size_t>(buffer.base);
    if (index == 0) return plan_->arenaBytes;
    index -= 1;
    if (index < plan_->inputBytes.size()) return plan_->inputBytes[index];
    index -= plan_->inputBytes.size();
    if (index < plan_->outputBytes.size()) return plan_->outputBytes[index];
    return plan_->constants[index - plan_->outputBytes.size()].bytes;
  }

  bool readOnly(const PlanBuffer& buffer) const {
    const size_t inputs = plan_->inputBytes.size();
    const size_t base = static_cast<size_t>(buffer.base);
    return base != 0 && (base <= inputs || base > inputs + plan_->outputBytes.size());
  }

  bool inParallel() const { return !loops_.empty() && plan_->instructions[loops_[0]].parallel; }

  /// The bytes [low, high) that the enclosing loops make of a buffer, checked against its base.
  bool useBuffer(int64_t number) {
    const PlanBuffer& buffer = plan_->buffers[static_cast<size_t>(number)];
    __int128 low = buffer.offset, high = buffer.offset;
    for (size_t d = 0; d < loops_.size(); d++) {
      const int64_t count = plan_->instructions[loops_[d]].count;
      const __int128 reach = static_cast<__int128>(buffer.strides[d]) * (count > 0 ? count - 1 : 0);
      (reach < 0 ? low : high) += reach;
    }
    high += static_cast<__int128>(buffer.bytes);
    if (low < 0 || high > static_cast<__int128>(capacityOf(buffer))) {
      return fail("buffer " + text(number) + " leaves its " + text(static_cast<int64_t>(capacityOf(buffer))) +
                  " bytes");
    }
    if (buffer.base != 0) return true;
    Use& use = uses_[static_cast<size_t>(number)];
    const bool parallel = inParallel();
    (parallel ? use.inside : use.outside) = true;
    if (use.inside && use.outside) {
      return fail("arena buffer " + text(number) + " is used both inside and outside of parallel loops");
    }
    if (parallel) {
      privateLow_ = std::min(privateLow_, static_cast<size_t>(low));
      privateHigh_ = std::max(privateHigh_, static_cast<size_t>(high));
    }
    return true;
  }

  bool readOperands(const KernelLayout& layout, Instruction* step, std::vector<Operand>* operands) {
    int64_t count;
    if (!whole("nOperands", 0, kMaxOperands, &count)) return false;
    if (static_cast<size_t>(count) != layout.operands.size()) {
      return fail("takes " + text(static_cast<int64_t>(layout.operands.size())) + " operands, got " + text(count));
    }
    step->firstOperand = static_cast<int32_t>(plan_->operands.size());
    step->operandCount = static_cast<int32_t>(count);
    for (int64_t i = 0; i < count; i++) {
      const KernelLayout::OperandSlot& slot = layout.operands[static_cast<size_t>(i)];
      int64_t number;
      if (!whole("operand", -1, buffers_ - 1, &number)) return false;
      plan_->operands.push_back(static_cast<int32_t>(number));
      if (number < 0) {
        if (!slot.optional) return fail("operand " + slot.name + " is omitted");
        operands->push_back({nullptr, 0});
        continue;
      }
      const PlanBuffer& buffer = plan_->buffers[static_cast<size_t>(number)];
      if (slot.writes && readOnly(buffer)) return fail("operand " + slot.name + " would write to an input or constant");
      if (!useBuffer(number)) return false;
      operands->push_back({kPresent, buffer.bytes});
    }
    return true;
  }

  bool readStep() {
    const KernelList& list = kernelsOf(plan_->isa);
    int64_t id, count;
    if (!whole("kernel", 0, list.count - 1, &id)) return false;
    kernel_ = list.kernels[id];
    if (kernel_->packedBytes) return fail("is a packer");
    const KernelLayout& layout = layoutFor(static_cast<size_t>(id));
    Instruction step{Instruction::kStep};
    step.kernel = kernel_;
    std::vector<Operand> operands;
    if (!readOperands(layout, &step, &operands)) return false;
    if (!whole("nNumbers", 0, static_cast<int64_t>(count_ - std::min(count_, at_ + 1)), &count)) return false;
    std::vector<int64_t> words;
    if (const char* wrong = encodeWords(layout, numbers_ + at_, static_cast<size_t>(count), &words)) return fail(wrong);
    at_ += static_cast<size_t>(count);
    step.firstWord = static_cast<int32_t>(plan_->words.size());
    step.wordCount = static_cast<int32_t>(count);
    plan_->words.insert(plan_->words.end(), words.begin(), words.end());
    const Step view{operands.data(), step.operandCount, words.data(), step.wordCount};
    if (const char* wrong = kernel_->check(view, &step.work)) return fail(wrong);
    if (step.work.units < 0 || step.work.scratch > kMaxScratch) return fail("its check gives senseless work");
    step.threads = inParallel() ? 1 : threadsFor(step.work.cost, step.work.units);
    plan_->threads = std::max(plan_->threads, step.threads);
    plan_->scratchBytes = std::max(plan_->scratchBytes, roundUp64(step.work.scratch));
    plan_->steps++;
    costs_.back() += step.work.cost;
    plan_->instructions.push_back(step);
    return true;
  }

  bool readLoop() {
    Instruction loop{Instruction::kLoop};
    int64_t parallel;
    if (!whole("loop count", 0, int64_t{1} << 31, &loop.count) || !whole("parallel", 0, 1, &parallel)) return false;
    if (loops_.size() == kMaxLoops) return fail("loops nest more than 3 deep");
    if (parallel && !loops_.empty()) return fail("a parallel loop inside a loop");
    loop.parallel = parallel != 0;
    loops_.push_back(plan_->instructions.size());
    costs_.push_back(0);
    plan_->instructions.push_back(loop);
    return true;
  }

  bool readEnd() {
    if (loops_.empty()) return fail("END without LOOP");
    Instruction end{Instruction::kEnd};
    end.match = static_cast<int32_t>(loops_.back());
    Instruction& loop = plan_->instructions[loops_.back()];
    loop.match = static_cast<int32_t>(plan_->instructions.size());
    end.count = loop.count;
    const double cost = costs_.back() * static_cast<double>(loop.count);
    if (loop.parallel) loop.threads = threadsFor(cost, loop.count);
    plan_->threads = std::max(plan_->threads, loop.threads);
    loops_.pop_back();
    costs_.pop_back();
    costs_.back() += cost;
    plan_->instructions.push_back(end);
    return true;
  }

  bool readInstructions() {
    for (instruction_ = 0; instruction_ < instructions_; instruction_++) {
      int64_t kind;
      kernel_ = nullptr;
      if (!whole("instruction kind", 1, 3, &kind)) return false;
      const bool read = kind == 1 ? readStep() : kind == 2 ? readLoop() : readEnd();
      if (!read) return false;
    }
    kernel_ = nullptr;
    return loops_.empty() || fail("LOOP without END");
  }

  void measureArenas() {
    if (privateLow_ >= privateHigh_) return;
    plan_->privateBegin = privateLow_ / 64 * 64;
    plan_->privateEnd = roundUp64(privateHigh_);
  }

  const KernelLayout& layoutFor(size_t id) {
    if (layouts_.size() <= id) layouts_.resize(id + 1);
    if (!layouts_[id]) layouts_[id] = std::make_unique<KernelLayout>(layoutOf(*kernel_));
    return *layouts_[id];
  }

  struct Use {
    bool inside = false, outside = false;
  };

  static constexpr int64_t kMaxBytes = int64_t{1} << 48;
  static constexpr size_t kMaxScratch = size_t{1} << 40;

  const double* numbers_;
  size_t count_;
  size_t at_ = 0;
  size_t maxArenaBytes_;
  std::string* problem_;
  std::unique_ptr<Plan> plan_;
  int64_t buffers_ = 0, instructions_ = 0, instruction_ = -1;
  const KernelDef* kernel_ = nullptr;
  std::vector<Use> uses_;
  std::vector<std::unique_ptr<KernelLayout>> layouts_;
  /// Open loops, and the cost of one iteration of each so far (the first entry: of the plan).
  std::vector<size_t> loops_;
  std::vector<double> costs_{0};
  size_t privateLow_ = SIZE_MAX, privateHigh_ = 0;
};

}  // namespace

size_t Plan::runBytes(int threads) const {
  const size_t count = static_cast<size_t>(threads);
  size_t scratch, arenas, total;
  if (__builtin_mul_overflow(scratchBytes, count, &scratch) ||
      __builtin_mul_overflow(privateBytes(), count - 1, &arenas) ||
      __builtin_add_overflow(roundUp64(arenaBytes), scratch, &total) || __builtin_add_overflow(total, arenas, &total)) {
    return SIZE_MAX;
  }
  return total;
}

std::unique_ptr<Plan> decodePlan(Isa isa, const double* numbers, size_t count, std::vector<ConstantBytes> constants,
                                 size_t maxArenaBytes, std::string* problem) {
  return Decoder(isa, numbers, count, std::move(constants), maxArenaBytes, problem).decode();
}

}  // namespace filigree
