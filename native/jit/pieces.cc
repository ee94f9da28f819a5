#include "jit/pieces.h"

#include <algorithm>
#include <cstring>

namespace filigree {
namespace jit {

namespace {

constexpr int64_t kRelu = 1, kClip = 2, kLeaky = 3;

int64_t linesOf(int64_t bytes) { return (bytes + kLine - 1) / kLine; }

}  // namespace

bool emitsActivation(int64_t activation) { return activation <= kLeaky; }
bool emitsByteActivation(int64_t activation) { return activation <= kClip; }

void PieceGenerator::address(Reg to, Mem slot, int64_t lines) {
  code_.mov(to, slot);
  if (lines) code_.add(to, static_cast<int32_t>(lines * kLine));
}

Mem PieceGenerator::word(uint32_t bits) {
  const int64_t at = static_cast<int64_t>(words_.size()) * 4;
  words_.push_back(bits);
  if (at - words_base_ > 127 * 4) {
    const int64_t step = at - words_base_ + 128 * 4;
    code_.add(kWords, static_cast<int32_t>(step));
    words_base_ += step;
  }
  return {kWords, static_cast<int32_t>(at - words_base_)};
}

Mem PieceGenerator::word(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return word(bits);
}

Mem PieceGenerator::line(const Column& column) {
  // Lines come in ascending order within a tap.
  if (column.tap != tap_) {
    tap_ = column.tap;
    code_.mov(kInput, {kTile, static_cast<int32_t>((kTileWords + tap_) * 8)});
    input_base_ = 0;
  }
  if (column.line - input_base_ > 127) {
    const int64_t step = column.line - input_base_ + 128;
    code_.add(kInput, static_cast<int32_t>(step * kLine));
    input_base_ += step;
  }
  return {kInput, static_cast<int32_t>((column.line - input_base_) * kLine)};
}

void PieceGenerator::columns(int first_spare, int output_lines) {
  const size_t total = piece_.nonzeros.size();
  const int spares = 32 - piece_.rows;
  size_t done = 0;
  int64_t fetched = 0, outputs = 0;
  int next = first_spare;
  const auto prefetch = [&] { code_.prefetchT1({kNext, static_cast<int32_t>(fetched * kLine)}); };
  for (const Column& column : piece_.columns) {
    const Zmm x = spare(next);
    next = next + 1 == spares ? first_spare : next + 1;
    loadLine(x, line(column));
    for (; done < column.end; done++) {
      multiplyAdd(sum(piece_.nonzeros[done].row), x, word(piece_.nonzeros[done].bits));
    }
    // Both kinds of prefetch in step with the share of the work that is done.
    for (; outputs < output_lines && outputs * total <= done * output_lines; outputs++) {
      code_.prefetchW({kOther, static_cast<int32_t>(outputs * kLine)});
    }
    for (; fetched < prefetches_ && fetched * total <= done * prefetches_; fetched++) prefetch();
  }
  for (; fetched < prefetches_; fetched++) prefetch();
}

void PieceGenerator::activate(int rows, int64_t activation, float alpha, float beta) {
  const Zmm zero = spare(0), other = spare(1), slope = spare(2);
  if (activation == kRelu || activation == kLeaky) code_.zero(zero);
  if (activation == kLeaky) code_.broadcast(slope, word(alpha));
  if (activation == kClip) {
    code_.broadcast(zero, word(alpha));
    code_.broadcast(other, word(beta));
  }
  for (int r = 0; r < rows; r++) {
    const Zmm x = sum(r);
    if (activation == kRelu) code_.max(x, zero, x);
    if (activation == kClip) {
      code_.max(x, zero, x);
      code_.min(x, other, x);
    }
    if (activation == kLeaky) {
      // max(x, 0) + alpha * min(x, 0)
      code_.min(other, zero, x);
      code_.max(x, zero, x);
      code_.mul(other, other, slope);
      code_.add(x, x, other);
    }
  }
}

namespace {

/// Bytes of the prefetches of a piece: instructions at displacements 0, 64 and beyond have different lengths.
int64_t prefetchBytes(int64_t count) { return count * 7 - (count > 0 ? 4 : 0) - (count > 1 ? 3 : 0); }

struct Layout {
  SparseHeader header;
  std::vector<PieceEntry> entries;
};

Layout layOut(const GeneratorFactory& factory, const SparseHeader& given) {
  Layout layout;
  layout.header = given;
  SparseHeader& header = layout.header;
  std::vector<PieceEntry>& entries = layout.entries;
  Piece piece;
  std::vector<uint32_t> words;
  for (int64_t block = 0; block < header.column_blocks; block++) {
    for (int64_t group = 0; group < header.row_groups; group++) {
      int64_t first, count;
      factory.groupRows(group, header.row_groups, &first, &count);
      factory.source().collect(block, header.column_blocks, first, count, &piece);
      Emitter counter;
      words.clear();
      factory.generate(piece, block, header.column_blocks, 0, &counter, &words);
      PieceEntry entry{};
      entry.first_row = static_cast<int32_t>(first);
      entry.rows = static_cast<int32_t>(count);
      entry.nonzeros = static_cast<int64_t>(piece.nonzeros.size());
      entry.used_columns = static_cast<int64_t>(piece.columns.size());
      // Sizes for now; they become offsets below.
      entry.code = linesOf(static_cast<int64_t>(words.size()) * 4) * kLine;
      entry.end = static_cast<int64_t>(counter.size());
      header.nonzeros += entry.nonzeros;
      header.used_columns += entry.used_columns;
      entries.push_back(entry);
    }
  }
  // A piece prefetches the one that follows, the last the first; every piece is a little longer by what it prefetches.
  const size_t count = entries.size();
  for (size_t i = 0; i < count && count > 1; i++) {
    const PieceEntry& next = entries[(i + 1) % count];
    const int64_t amount = linesOf(next.code + next.end);
    entries[i].prefetches = (amount + amount / 32 + header.passes - 1) / header.passes;
  }
  int64_t at = linesOf(static_cast<int64_t>(sizeof header + count * sizeof(PieceEntry))) * kLine;
  for (PieceEntry& entry : entries) {
    entry.weights = at;
    entry.code += at;
    entry.end += entry.code + prefetchBytes(entry.prefetches);
    at = linesOf(entry.end) * kLine;
  }
  header.bytes = at;
  return layout;
}

}  // namespace

size_t packingBytes(const GeneratorFactory& factory, const SparseHeader& header) {
  return static_cast<size_t>(layOut(factory, header).header.bytes);
}

const char* writePacking(const GeneratorFactory& factory, const SparseHeader& given, uint8_t* out, size_t bytes) {
  const Layout layout = layOut(factory, given);
  const SparseHeader& header = layout.header;
  if (static_cast<size_t>(header.bytes) > bytes) return "the weights changed between sizing and packing";
  std::memcpy(out, &header, sizeof header);
  if (!layout.entries.empty()) {
    std::memcpy(out + sizeof header, layout.entries.data(), layout.entries.size() * sizeof(PieceEntry));
  }
  Piece piece;
  std::vector<uint32_t> words;
  for (size_t i = 0; i < layout.entries.size(); i++) {
    const PieceEntry& entry = layout.entries[i];
    const int64_t block = static_cast<int64_t>(i) / header.row_groups;
    factory.source().collect(block, header.column_blocks, entry.first_row, entry.rows, &piece);
    words.clear();
    Emitter code(out + entry.code, static_cast<size_t>(entry.end - entry.code));
    factory.generate(piece, block, header.column_blocks, entry.prefetches, &code, &words);
    if (code.overflowed() || static_cast<int64_t>(words.size()) * 4 > entry.code - entry.weights) {
      return "the weights changed between sizing and packing";
    }
    std::memcpy(out + entry.weights, words.data(), words.size() * 4);
  }
  return nullptr;
}

}  // namespace jit
}  // namespace filigree
