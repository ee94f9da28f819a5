#include <algorithm>
#include <cstring>
#include <vector>

#include "jit/columns.h"
#include "jit/emitter.h"
#include "jit/sparse.h"

namespace filigree {
namespace jit {

namespace {

constexpr int kLine = 64;
constexpr int64_t kRelu = 1, kClip = 2, kLeaky = 3;

constexpr Reg kTile = Reg::rdi, kWeights = Reg::rsi, kNext = Reg::rdx;
constexpr Reg kInput = Reg::rax, kOutput = Reg::r8, kOther = Reg::rcx;

/// Slots of the tile table.
Mem outputSlot() { return {kTile, offsetof(SparseTile, output)}; }
Mem residualSlot() { return {kTile, offsetof(SparseTile, residual)}; }
Mem followingSlot() { return {kTile, offsetof(SparseTile, following)}; }
Mem tapSlot(int64_t tap) { return {kTile, static_cast<int32_t>((kTileWords + tap) * 8)}; }

int64_t lines(int64_t bytes) { return (bytes + kLine - 1) / kLine; }

/// Generates one piece: weights into a list, code into the emitter.
class Generator {
 public:
  Generator(const SparseSpec& spec, const Piece& piece, bool first, bool last, int64_t prefetches, Emitter* code,
            std::vector<float>* weights)
      : spec_(spec),
        piece_(piece),
        first_(first),
        last_(last),
        prefetches_(prefetches),
        code_(*code),
        weights_(*weights) {}

  void generate() {
    const bool fetch_output = spec_.prefetch_output && first_;
    if (!first_) address(kOutput, outputSlot());
    if (fetch_output) address(kOther, followingSlot());
    for (int r = 0; r < piece_.rows; r++) {
      if (first_) {
        const float bias = spec_.bias ? spec_.bias[piece_.first_row + r] : 0.0f;
        code_.broadcast(sum(r), word(bias));
      } else {
        code_.load(sum(r), {kOutput, r * kLine});
      }
    }
    body(fetch_output);
    if (first_) address(kOutput, outputSlot());
    if (first_ && spec_.residual) {
      address(kOther, residualSlot());
      for (int r = 0; r < piece_.rows; r++) code_.addVector(sum(r), sum(r), {kOther, r * kLine});
    }
    if (last_) activate();
    for (int r = 0; r < piece_.rows; r++) code_.store({kOutput, r * kLine}, sum(r));
    code_.ret();
  }

 private:
  Zmm sum(int row) const { return {static_cast<uint8_t>(row)}; }
  /// One of the registers that hold no sums.
  Zmm spare(int i) const { return {static_cast<uint8_t>(piece_.rows + i)}; }

  /// Loads a slot of the tile table and moves it to the group's first row.
  void address(Reg to, Mem slot) {
    code_.mov(to, slot);
    if (piece_.first_row) code_.add(to, static_cast<int32_t>(piece_.first_row * kLine));
  }

  /// Appends to the stream of weights; its register moves on when displacements would no longer fit a byte.
  Mem word(float value) {
    const int64_t at = static_cast<int64_t>(weights_.size()) * 4;
    weights_.push_back(value);
    if (at - weights_base_ > 127 * 4) {
      const int64_t step = at - weights_base_ + 128 * 4;
      code_.add(kWeights, static_cast<int32_t>(step));
      weights_base_ += step;
    }
    return {kWeights, static_cast<int32_t>(at - weights_base_)};
  }

  /// Address of a used column's line; columns come in ascending order within a tap.
  Mem line(const Column& column) {
    if (column.tap != tap_) {
      tap_ = column.tap;
      code_.mov(kInput, tapSlot(tap_));
      input_base_ = 0;
    }
    if (column.channel - input_base_ > 127) {
      const int64_t step = column.channel - input_base_ + 128;
      code_.add(kInput, static_cast<int32_t>(step * kLine));
      input_base_ += step;
    }
    return {kInput, static_cast<int32_t>((column.channel - input_base_) * kLine)};
  }

  void body(bool fetch_output) {
    const size_t total = piece_.nonzeros.size();
    const int spares = 32 - piece_.rows;
    size_t done = 0;
    int64_t fetched = 0, outputs = 0;
    int next = 0;
    for (const Column& column : piece_.columns) {
      const Zmm x = spare(next);
      next = next + 1 == spares ? 0 : next + 1;
      code_.load(x, line(column));
      for (; done < column.end; done++) {
        code_.fmaWord(sum(piece_.nonzeros[done].row), x, word(piece_.nonzeros[done].weight));
      }
      // Both kinds of prefetch in step with the share of the work that is done.
      for (; fetch_output && outputs < piece_.rows && outputs * total <= done * piece_.rows; outputs++) {
        code_.prefetchW({kOther, static_cast<int32_t>(outputs * kLine)});
      }
      for (; fetched < prefetches_ && fetched * total <= done * prefetches_; fetched++) prefetch(fetched);
    }
    for (; fetched < prefetches_; fetched++) prefetch(fetched);
  }

  void prefetch(int64_t i) { code_.prefetchT1({kNext, static_cast<int32_t>(i * kLine)}); }

  void constant(Zmm to, float value) { code_.broadcast(to, word(value)); }

  void activate() {
    const Zmm zero = spare(0), other = spare(1);
    if (spec_.activation == kRelu || spec_.activation == kLeaky) code_.zero(zero);
    if (spec_.activation == kLeaky) constant(spare(2), spec_.alpha);
    if (spec_.activation == kClip) {
      constant(zero, spec_.alpha);
      constant(other, spec_.beta);
    }
    for (int r = 0; r < piece_.rows; r++) {
      const Zmm x = sum(r);
      if (spec_.activation == kRelu) code_.max(x, zero, x);
      if (spec_.activation == kClip) {
        code_.max(x, zero, x);
        code_.min(x, other, x);
      }
      if (spec_.activation == kLeaky) {
        // max(x, 0) + alpha * min(x, 0)
        code_.min(other, zero, x);
        code_.max(x, zero, x);
        code_.mul(other, other, spare(2));
        code_.add(x, x, other);
      }
    }
  }

  const SparseSpec& spec_;
  const Piece& piece_;
  const bool first_, last_;
  const int64_t prefetches_;
  Emitter& code_;
  std::vector<float>& weights_;
  int64_t weights_base_ = 0, input_base_ = 0, tap_ = -1;
};

/// Where every piece lies; the header is complete.
struct Layout {
  SparseHeader header;
  std::vector<PieceEntry> entries;
};

/// Bytes of the prefetches of a piece: instructions at displacements 0, 64 and beyond have different lengths.
int64_t prefetchBytes(int64_t count) { return count * 7 - (count > 0 ? 4 : 0) - (count > 1 ? 3 : 0); }

/// Sizes of one piece without its prefetches.
void measure(const SparseSpec& spec, const Piece& piece, const SparseHeader& header, int64_t block, PieceEntry* entry) {
  Emitter counter;
  std::vector<float> weights;
  Generator(spec, piece, block == 0, block == header.column_blocks - 1, 0, &counter, &weights).generate();
  entry->first_row = static_cast<int32_t>(piece.first_row);
  entry->rows = piece.rows;
  entry->nonzeros = static_cast<int64_t>(piece.nonzeros.size());
  entry->used_columns = static_cast<int64_t>(piece.columns.size());
  entry->code = lines(static_cast<int64_t>(weights.size()) * 4) * kLine;
  entry->end = static_cast<int64_t>(counter.size());
}

Layout layOut(const SparseSpec& spec) {
  Layout layout;
  SparseHeader& header = layout.header;
  header = {};
  header.magic = kSparseF32Magic;
  header.rows = spec.rows, header.columns = spec.columns, header.taps = spec.taps, header.groups = spec.groups;
  header.residual = spec.residual, header.activation = spec.activation, header.passes = spec.passes;
  header.column_blocks = spec.column_blocks ? spec.column_blocks : columnBlocks(spec.columns, spec.taps, spec.groups);
  header.column_blocks = std::max<int64_t>(1, std::min(header.column_blocks, spec.columns));
  header.row_groups = (spec.rows + kGroupRows - 1) / kGroupRows;
  Piece piece;
  for (int64_t block = 0; block < header.column_blocks; block++) {
    for (int64_t group = 0; group < header.row_groups; group++) {
      collect(spec, block, header.column_blocks, group, header.row_groups, &piece);
      PieceEntry entry{};
      measure(spec, piece, header, block, &entry);
      header.nonzeros += entry.nonzeros;
      header.used_columns += entry.used_columns;
      layout.entries.push_back(entry);
    }
  }
  // A piece prefetches the one that follows, the last the first; both end up a little longer by it.
  std::vector<PieceEntry>& entries = layout.entries;
  const size_t count = entries.size();
  for (size_t i = 0; i < count; i++) {
    const PieceEntry& next = entries[(i + 1) % count];
    const int64_t amount = lines(next.code + next.end);
    entries[i].prefetches = count > 1 ? (amount + amount / 32 + spec.passes - 1) / spec.passes : 0;
  }
  int64_t at = lines(static_cast<int64_t>(sizeof header + count * sizeof(PieceEntry))) * kLine;
  for (PieceEntry& entry : entries) {
    entry.weights = at;
    entry.code += at;
    entry.end += entry.code + prefetchBytes(entry.prefetches);
    at = lines(entry.end) * kLine;
  }
  header.bytes = at;
  return layout;
}

}  // namespace

bool emitsActivation(int64_t activation) { return activation <= kLeaky; }

int64_t columnBlocks(int64_t columns, int64_t taps, int64_t groups) {
  const int64_t total = columns * taps;
  return groups > 1 || total <= 1024 ? 1 : (total + 639) / 640;
}

size_t sparseF32Bytes(const SparseSpec& spec) { return static_cast<size_t>(layOut(spec).header.bytes); }

const char* sparseF32Generate(const SparseSpec& spec, uint8_t* out, size_t bytes) {
  const Layout layout = layOut(spec);
  const SparseHeader& header = layout.header;
  if (static_cast<size_t>(header.bytes) > bytes) return "the weights changed between sizing and packing";
  std::memcpy(out, &header, sizeof header);
  std::memcpy(out + sizeof header, layout.entries.data(), layout.entries.size() * sizeof(PieceEntry));
  Piece piece;
  std::vector<float> weights;
  for (size_t i = 0; i < layout.entries.size(); i++) {
    const PieceEntry& entry = layout.entries[i];
    const int64_t block = static_cast<int64_t>(i) / header.row_groups,
                  group = static_cast<int64_t>(i) % header.row_groups;
    collect(spec, block, header.column_blocks, group, header.row_groups, &piece);
    weights.clear();
    Emitter code(out + entry.code, static_cast<size_t>(entry.end - entry.code));
    Generator(spec, piece, block == 0, block == header.column_blocks - 1, entry.prefetches, &code, &weights).generate();
    if (code.overflowed() || static_cast<int64_t>(weights.size()) * 4 > entry.code - entry.weights) {
      return "the weights changed between sizing and packing";
    }
    std::memcpy(out + entry.weights, weights.data(), weights.size() * 4);
  }
  return nullptr;
}

}  // namespace jit
}  // namespace filigree
