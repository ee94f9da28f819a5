// Rows of tables whose elements are quantised in blocks: y = (level - zero) * scale.
#include "kernels/indices.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kLevels, kIndices, kScales, kZeroPoints, kY };
enum { kRows, kLines, kLength, kCount, kIndexBytes, kBits, kSigned, kBlock, kScaleType, kCentre, kZeroFields };

/// Sizes of a table [rows][lines][length].
struct Table {
  int64_t rows, lines, length, bits, block, zero_fields;

  FILIGREE_INLINE_MEMBER int64_t blocks() const { return (length + block - 1) / block; }
};

Table readTable(const Step& step) {
  return {intParam(step, kRows), intParam(step, kLines), intParam(step, kLength),
          intParam(step, kBits), intParam(step, kBlock), intParam(step, kZeroFields)};
}

/// Bytes of `count` fields, or -1.
int64_t fieldBytes(int64_t count, int64_t bits) {
  return count < 0 ? -1 : count / 8 * bits + (count % 8 * bits + 7) / 8;
}

const char* checkGather(const Step& step, Work* work) {
  const Table t = readTable(step);
  const int64_t count = intParam(step, kCount), index_bytes = intParam(step, kIndexBytes);
  const int64_t limit = int64_t{1} << 31;
  const int64_t sizes[] = {t.rows, t.lines, t.length, count, t.zero_fields};
  for (int64_t size : sizes) {
    if (size < 0 || size > limit) return "sizes are out of range";
  }
  if (t.bits != 2 && t.bits != 4 && t.bits != 8) return "bits are 2, 4 or 8";
  if (t.length * t.bits % 8) return "a line is no whole number of bytes";
  if (t.block <= 0 || t.block > limit) return "a block's size is out of range";
  if (index_bytes != 4 && index_bytes != 8) return "an index has 4 or 8 bytes";
  const int64_t scale_bytes = floatTypeBytes(intParam(step, kScaleType));
  if (scale_bytes == 0) return "no such type of scales";
  const int64_t lines = product(t.rows, t.lines);
  if (!holds(step, kLevels, product(lines, t.length * t.bits / 8), 1)) return "the levels are fewer than the sizes say";
  if (!holds(step, kIndices, count, index_bytes)) return "the indices are fewer than the sizes say";
  if (!holds(step, kScales, product(lines, t.blocks()), scale_bytes)) return "the scales are fewer than the sizes say";
  if (step.operands[kZeroPoints].bytes) {
    if (t.zero_fields < t.blocks()) return "a line has fewer zero points than blocks";
    const int64_t bytes = fieldBytes(product(lines, t.zero_fields), t.bits);
    if (!holds(step, kZeroPoints, bytes, 1)) return "the zero points are fewer than the sizes say";
  }
  const int64_t elements = product(count, product(t.lines, t.length));
  if (!holds(step, kY, elements, 4)) return "y is smaller than its sizes say";
  work->units = count;
  work->cost = static_cast<double>(elements);
  work->scratch = 0;
  return nullptr;
}

/// Field i of `bits` bits, the first in the low bits of a byte.
FILIGREE_INLINE int32_t field(const uint8_t* x, int64_t i, int64_t bits, bool sign) {
  const int shift = static_cast<int>(i * bits % 8), width = static_cast<int>(bits);
  const uint32_t byte = x[i * bits / 8];
  return sign ? static_cast<int32_t>(byte << (32 - width - shift)) >> (32 - width)
              : static_cast<int32_t>(byte >> shift) & ((1 << width) - 1);
}

/// One block: levels to numbers.
template <int bits>
void decodeBlock(const uint8_t* levels, int64_t from, int64_t count, bool sign, float zero, float scale, float* y) {
  for (int64_t i = 0; i < count; i++) {
    y[i] = (static_cast<float>(field(levels, from + i, bits, sign)) - zero) * scale;
  }
}

void decodeLine(const Step& step, const Table& t, int64_t line, float* y) {
  const uint8_t* levels = input<uint8_t>(step, kLevels) + line * (t.length * t.bits / 8);
  const bool sign = intParam(step, kSigned) != 0;
  for (int64_t b = 0; b < t.blocks(); b++) {
    const int64_t from = b * t.block, count = t.length - from < t.block ? t.length - from : t.block;
    const float scale =
        elementAsFloat(input<uint8_t>(step, kScales), intParam(step, kScaleType), line * t.blocks() + b);
    const int64_t zero = step.operands[kZeroPoints].bytes
                             ? field(input<uint8_t>(step, kZeroPoints), line * t.zero_fields + b, t.bits, sign)
                             : intParam(step, kCentre);
    const float shift = static_cast<float>(zero);
    if (t.bits == 2) decodeBlock<2>(levels, from, count, sign, shift, scale, y + from);
    if (t.bits == 4) decodeBlock<4>(levels, from, count, sign, shift, scale, y + from);
    if (t.bits == 8) decodeBlock<8>(levels, from, count, sign, shift, scale, y + from);
  }
}

void runGather(const Step& step, Range* range) {
  const Table t = readTable(step);
  const int64_t size = t.lines * t.length;
  for (int64_t i = range->begin; i < range->end; i++) {
    const int64_t row = indexAt(input<uint8_t>(step, kIndices), intParam(step, kIndexBytes), i, t.rows);
    float* y = output<float>(step, kY) + i * size;
    if (row < 0) {
      std::memset(y, 0, static_cast<size_t>(size) * 4);
      continue;
    }
    for (int64_t line = 0; line < t.lines; line++) decodeLine(step, t, row * t.lines + line, y + line * t.length);
  }
}

}  // namespace

// Row indices[i] of levels [rows][lines][length], fields of `bits` bits, the first in the low bits; zeros where an
// index is outside [-rows, rows). Scales [rows][lines][blocks] are of ONNX's type number `scale_type`. Zero points are
// fields, zero_fields of them from line to line; without them `centre`.
FILIGREE_KERNEL(gatherNbits) = {"gather.nbits.f32",
                                "r:levels r:indices r:scales r:zero_points? w:y",
                                "i:rows i:lines i:length i:count i:index_bytes i:bits i:signed i:block i:scale_type "
                                "i:centre i:zero_fields",
                                checkGather,
                                runGather,
                                nullptr,
                                nullptr,
                                false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
