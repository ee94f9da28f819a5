#include <algorithm>

#include "jit/pieces.h"

namespace filigree {
namespace jit {

namespace {

class FloatGenerator : public PieceGenerator {
 public:
  FloatGenerator(const SparseSpec& spec, const Piece& piece, bool first, bool last, int64_t prefetches, Emitter* code,
                 std::vector<uint32_t>* words)
      : PieceGenerator(piece, prefetches, code, words), spec_(spec), first_(first), last_(last) {}

  void generate() override {
    const int64_t first_row = piece_.first_row;
    const bool fetch_output = spec_.prefetch_output && first_;
    if (!first_) address(kOutput, outputSlot(), first_row);
    if (fetch_output) address(kOther, followingSlot(), first_row);
    for (int r = 0; r < piece_.rows; r++) {
      if (first_) {
        code_.broadcast(sum(r), word(spec_.bias ? spec_.bias[first_row + r] : 0.0f));
      } else {
        code_.load(sum(r), {kOutput, r * kLine});
      }
    }
    columns(0, fetch_output ? piece_.rows : 0);
    if (first_) address(kOutput, outputSlot(), first_row);
    // In the first block: later ones overwrite a residual that lies in the output.
    if (first_ && spec_.residual) {
      address(kOther, residualSlot(), first_row);
      for (int r = 0; r < piece_.rows; r++) code_.addVector(sum(r), sum(r), {kOther, r * kLine});
    }
    if (last_) activate(piece_.rows, spec_.activation, spec_.alpha, spec_.beta);
    for (int r = 0; r < piece_.rows; r++) code_.store({kOutput, r * kLine}, sum(r));
    code_.ret();
  }

 protected:
  void loadLine(Zmm to, Mem from) override { code_.load(to, from); }
  void multiplyAdd(Zmm sum, Zmm x, Mem word) override { code_.fmaWord(sum, x, word); }

 private:
  const SparseSpec& spec_;
  const bool first_, last_;
};

class FloatFactory : public GeneratorFactory {
 public:
  explicit FloatFactory(const SparseSpec& spec) : spec_(spec), source_(spec) {}
  const Source& source() const override { return source_; }
  void groupRows(int64_t group, int64_t groups, int64_t* first, int64_t* count) const override {
    *first = spec_.rows * group / groups;
    *count = spec_.rows * (group + 1) / groups - *first;
  }
  void generate(const Piece& piece, int64_t block, int64_t blocks, int64_t prefetches, Emitter* code,
                std::vector<uint32_t>* words) const override {
    FloatGenerator(spec_, piece, block == 0, block == blocks - 1, prefetches, code, words).generate();
  }

 private:
  const SparseSpec& spec_;
  FloatSource source_;
};

SparseHeader headerOf(const SparseSpec& spec) {
  SparseHeader header{};
  header.magic = kSparseF32Magic;
  header.rows = spec.rows, header.columns = spec.columns, header.taps = spec.taps, header.groups = spec.groups;
  header.residual = spec.residual, header.activation = spec.activation, header.passes = spec.passes;
  header.output = kOutputFloat;
  header.column_blocks = spec.column_blocks ? spec.column_blocks : columnBlocks(spec.columns, spec.taps, spec.groups);
  header.column_blocks = std::max<int64_t>(1, std::min(header.column_blocks, spec.columns));
  header.row_groups = (spec.rows + kGroupRows - 1) / kGroupRows;
  return header;
}

}  // namespace

int64_t columnBlocks(int64_t columns, int64_t taps, int64_t groups) {
  const int64_t total = columns * taps;
  return groups > 1 || total <= 1024 ? 1 : (total + 639) / 640;
}

size_t sparseF32Bytes(const SparseSpec& spec) { return packingBytes(FloatFactory(spec), headerOf(spec)); }

const char* sparseF32Generate(const SparseSpec& spec, uint8_t* out, size_t bytes) {
  return writePacking(FloatFactory(spec), headerOf(spec), out, bytes);
}

}  // namespace jit
}  // namespace filigree
