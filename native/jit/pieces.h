// What the generators of sparse code share: the loop over a piece's columns, and the layout of a packing.
// Only for native/jit.
#pragma once
#include <cstdint>
#include <vector>

#include "jit/columns.h"
#include "jit/emitter.h"

namespace filigree {
namespace jit {

constexpr int kLine = 64;

/// Generates one piece: words (bias, weights, constants) into a list, code into the emitter.
class PieceGenerator {
 public:
  PieceGenerator(const Piece& piece, int64_t prefetches, Emitter* code, std::vector<uint32_t>* words)
      : piece_(piece), prefetches_(prefetches), code_(*code), words_(*words) {}
  virtual ~PieceGenerator() = default;
  virtual void generate() = 0;

 protected:
  static constexpr Reg kTile = Reg::rdi, kWords = Reg::rsi, kNext = Reg::rdx;
  static constexpr Reg kInput = Reg::rax, kOutput = Reg::r8, kOther = Reg::rcx;

  /// Slots of the tile table.
  static Mem outputSlot() { return {kTile, offsetof(SparseTile, output)}; }
  static Mem residualSlot() { return {kTile, offsetof(SparseTile, residual)}; }
  static Mem followingSlot() { return {kTile, offsetof(SparseTile, following)}; }

  Zmm sum(int row) const { return {static_cast<uint8_t>(row)}; }
  /// One of the registers that hold no sums.
  Zmm spare(int i) const { return {static_cast<uint8_t>(piece_.rows + i)}; }

  /// Loads a slot of the tile table and moves it on by `lines` lines.
  void address(Reg to, Mem slot, int64_t lines);
  /// Appends to the stream of words; its register moves on when displacements would no longer fit a byte.
  Mem word(uint32_t bits);
  Mem word(float value);
  /// All columns: input lines rotate through the spare registers from `first_spare` on. Prefetches of the next piece
  /// and of `output_lines` lines at kOther (for writing) are spread among the columns.
  void columns(int first_spare, int output_lines);
  virtual void loadLine(Zmm to, Mem from) = 0;
  virtual void multiplyAdd(Zmm sum, Zmm x, Mem word) = 0;
  /// Activations of emitsActivation() on all sums; takes spares 0 to 2.
  void activate(int rows, int64_t activation, float alpha, float beta);

  const Piece& piece_;
  const int64_t prefetches_;
  Emitter& code_;
  std::vector<uint32_t>& words_;

 private:
  Mem line(const Column& column);

  int64_t words_base_ = 0, input_base_ = 0, tap_ = -1;
};

/// Makes the generator of a piece; `block` of the header's column blocks.
class GeneratorFactory {
 public:
  virtual ~GeneratorFactory() = default;
  virtual const Source& source() const = 0;
  /// Rows of group `group`: first and count.
  virtual void groupRows(int64_t group, int64_t groups, int64_t* first, int64_t* count) const = 0;
  virtual void generate(const Piece& piece, int64_t block, int64_t blocks, int64_t prefetches, Emitter* code,
                        std::vector<uint32_t>* words) const = 0;
};

/// Bytes of the packing whose header is filled up to bytes, nonzeros and used_columns.
size_t packingBytes(const GeneratorFactory& factory, const SparseHeader& header);

/// Writes the packing. Null, or a static text saying what is wrong.
const char* writePacking(const GeneratorFactory& factory, const SparseHeader& header, uint8_t* out, size_t bytes);

}  // namespace jit
}  // namespace filigree
