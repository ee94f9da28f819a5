#include <cmath>

#include "jit/pieces.h"

namespace filigree {
namespace jit {

namespace {

constexpr int64_t kRelu = 1, kClip = 2;

class ByteGenerator : public PieceGenerator {
 public:
  ByteGenerator(const ByteSpec& spec, const Piece& piece, int64_t prefetches, Emitter* code,
                std::vector<uint32_t>* words)
      : PieceGenerator(piece, prefetches, code, words), spec_(spec) {}

  void generate() override {
    const bool bytes = spec_.output != kOutputFloat && emitsByteActivation(spec_.activation);
    const int64_t valid = spec_.rows - piece_.first_row;
    const int rows = valid < piece_.rows ? static_cast<int>(valid) : piece_.rows;
    const int output_lines = bytes ? piece_.rows / 4 : rows;
    const int64_t offset = bytes ? piece_.first_row / 4 : piece_.first_row;
    // Lines that go to the caller's scratch are in the cache.
    const bool fetch_output = spec_.prefetch_output && (bytes || spec_.output == kOutputFloat);
    if (fetch_output) address(kOther, followingSlot(), offset);
    for (int r = 0; r < piece_.rows; r++) {
      code_.broadcast(sum(r), word(r < rows ? static_cast<uint32_t>(foldedBias(spec_, piece_.first_row + r)) : 0u));
    }
    // Signed bytes become unsigned ones by inverting the sign bit.
    if (spec_.input_signed) code_.broadcast(flip(), word(0x80808080u));
    columns(spec_.input_signed ? 1 : 0, fetch_output ? output_lines : 0);
    address(kOutput, outputSlot(), offset);
    scale(rows);
    if (bytes) {
      storeBytes(rows);
    } else {
      if (spec_.output == kOutputFloat) activate(rows, spec_.activation, spec_.alpha, spec_.beta);
      for (int r = 0; r < rows; r++) code_.store({kOutput, r * kLine}, sum(r));
    }
    code_.ret();
  }

 protected:
  void loadLine(Zmm to, Mem from) override {
    if (spec_.input_signed) {
      code_.bitXor(to, flip(), from);
    } else {
      code_.load(to, from);
    }
  }
  void multiplyAdd(Zmm sum, Zmm x, Mem word) override { code_.dotBytesWord(sum, x, word); }

 private:
  Zmm flip() const { return spare(0); }

  /// Integer sums to v before the activation.
  void scale(int rows) {
    const bool floats = spec_.output == kOutputFloat;
    if (spec_.residual) address(kOther, residualSlot(), floats ? piece_.first_row : piece_.first_row / 4);
    for (int r = 0; r < rows; r++) {
      const Zmm v = sum(r);
      code_.toFloat(v, v);
      code_.mulWord(v, v, word(spec_.scale[piece_.first_row + r]));
      if (spec_.middle.kind) roundMiddle(v);
      if (spec_.residual && floats) code_.addVector(v, v, {kOther, r * kLine});
      if (spec_.residual && !floats) addByte(r);
    }
  }

  /// Rounds v to the bytes in the middle, and multiplies it by their scale unless that is for the residual's sum.
  void roundMiddle(Zmm v) {
    const Middle& m = spec_.middle;
    // A NaN becomes the lowest.
    code_.broadcast(spare(2), word(m.low));
    code_.max(v, v, spare(2));
    code_.broadcast(spare(2), word(m.high));
    code_.min(v, v, spare(2));
    code_.toInt(v, v);
    if (m.offset != 0) code_.addIntWord(v, v, word(static_cast<uint32_t>(static_cast<int32_t>(m.offset))));
    code_.toFloat(v, v);
    if (m.kind == 1 || !spec_.residual) code_.mulWord(v, v, word(m.scale));
  }

  /// Adds the residual bytes of row `r` to its v.
  void addByte(int r) {
    const int quarter = r % 4;
    const Zmm line = spare(0), t = spare(1);
    float scale = spec_.residual_scale;
    if (quarter == 0) code_.load(line, {kOther, r / 4 * kLine});
    const bool fused = spec_.middle.kind >= 2;
    const int64_t zero_point = fused ? 0 : spec_.residual_zero_point;
    if (!spec_.residual_signed && zero_point == 0) {
      // A byte masked where it stands converts to a multiple of it; the power of two goes into the scale, exactly.
      code_.bitAndWord(t, line, word(0xffu << (8 * quarter)));
      code_.toFloatUnsigned(t, t);
      scale = std::ldexp(scale, -8 * quarter);
    } else {
      code_.shiftLeft(t, line, static_cast<uint8_t>(24 - 8 * quarter));
      if (spec_.residual_signed) {
        code_.shiftRightSigned(t, t, 24);
      } else {
        code_.shiftRight(t, t, 24);
      }
      if (zero_point) {
        code_.addIntWord(t, t, word(static_cast<uint32_t>(-static_cast<int32_t>(zero_point))));
      }
      code_.toFloat(t, t);
    }
    if (!fused) {
      code_.mulWord(t, t, word(scale));
      code_.add(sum(r), sum(r), t);
      return;
    }
    const Zmm total = spare(2);
    code_.broadcast(total, word(spec_.middle.shift));
    if (spec_.middle.kind == 3) code_.fmaWord(total, sum(r), word(spec_.middle.scale));
    code_.fmaWord(total, t, word(scale));
    if (spec_.middle.kind == 2) code_.fmaWord(total, sum(r), word(spec_.middle.scale));
    code_.bitOr(sum(r), total, total);
  }

  /// Activation, rounding, saturation, and four rows to a line.
  void storeBytes(int rows) {
    // Signed outputs are made as unsigned ones with the sign bit inverted.
    const bool is_signed = spec_.output == kOutputSigned;
    const int64_t zero_point = spec_.output_zero_point + (is_signed ? 128 : 0);
    float low = static_cast<float>(-zero_point), high = static_cast<float>(255 - zero_point);
    const Zmm lowest = spare(0), highest = spare(1), other = spare(2);
    const bool clips = spec_.activation == kClip;
    if (clips) {
      // They bound v, before the output's scale.
      code_.broadcast(other, word(spec_.alpha));
      code_.broadcast(spare(3), word(spec_.beta));
      for (int r = 0; r < rows; r++) {
        code_.max(sum(r), other, sum(r));
        code_.min(sum(r), spare(3), sum(r));
      }
    }
    if (spec_.activation == kRelu && low < 0) low = 0;
    code_.broadcast(lowest, word(low));
    code_.broadcast(highest, word(high));
    for (int r = 0; r < piece_.rows; r++) {
      const Zmm v = sum(r);
      if (r >= rows) {
        code_.zero(v);
        continue;
      }
      if (spec_.output_scale != 1.0f) code_.mulWord(v, v, word(spec_.output_scale));
      // A NaN becomes the lowest.
      code_.max(v, v, lowest);
      code_.min(v, v, highest);
      code_.toInt(v, v);
      if (zero_point) code_.addIntWord(v, v, word(static_cast<uint32_t>(zero_point)));
      if (r % 4) code_.shiftLeft(v, v, static_cast<uint8_t>(8 * (r % 4)));
    }
    for (int r = 0; r < piece_.rows; r += 4) {
      code_.bitOr(sum(r), sum(r), sum(r + 1));
      code_.bitOr3(sum(r), sum(r + 2), sum(r + 3));
      if (is_signed) code_.bitXorWord(sum(r), sum(r), word(0x80808080u));
      code_.store({kOutput, r / 4 * kLine}, sum(r));
    }
  }

  const ByteSpec& spec_;
};

class ByteFactory : public GeneratorFactory {
 public:
  explicit ByteFactory(const ByteSpec& spec) : spec_(spec), source_(spec) {}
  const Source& source() const override { return source_; }
  void groupRows(int64_t group, int64_t groups, int64_t* first, int64_t* count) const override {
    const int64_t quads = source_.rows() / 4;
    *first = quads * group / groups * 4;
    *count = quads * (group + 1) / groups * 4 - *first;
  }
  void generate(const Piece& piece, int64_t, int64_t, int64_t prefetches, Emitter* code,
                std::vector<uint32_t>* words) const override {
    ByteGenerator(spec_, piece, prefetches, code, words).generate();
  }

 private:
  const ByteSpec& spec_;
  ByteSource source_;
};

SparseHeader headerOf(const ByteSpec& spec) {
  SparseHeader header{};
  header.magic = kSparseU8Magic;
  header.rows = spec.rows, header.columns = spec.columns, header.taps = spec.taps, header.groups = spec.groups;
  header.residual = spec.residual, header.activation = spec.activation, header.passes = spec.passes;
  header.output = spec.output;
  header.column_blocks = 1;
  header.row_groups = (spec.rows + kByteGroupRows - 1) / kByteGroupRows;
  return header;
}

}  // namespace

int32_t foldedBias(const ByteSpec& spec, int64_t row) {
  const int64_t zero_point = spec.input_zero_point + (spec.input_signed ? 128 : 0);
  const int64_t bias = spec.bias ? spec.bias[row] : 0;
  // Sums are taken modulo 2^32, as the hardware does.
  return static_cast<int32_t>(static_cast<uint32_t>(bias - zero_point * ByteSource(spec).sum(row)));
}

bool weightsFit(const ByteSpec& spec) { return ByteSource(spec).fits(); }

size_t sparseU8Bytes(const ByteSpec& spec) { return packingBytes(ByteFactory(spec), headerOf(spec)); }

const char* sparseU8Generate(const ByteSpec& spec, uint8_t* out, size_t bytes) {
  return writePacking(ByteFactory(spec), headerOf(spec), out, bytes);
}

}  // namespace jit
}  // namespace filigree
