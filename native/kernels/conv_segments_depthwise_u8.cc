// Depthwise convolutions over 8-bit segment maps with 8-bit weights; as many channels out as in.
//
// The packing: for each quad of channels the sums' starting values and the scales [4], then the weights [tap][4], each
// in the place of its channel within a word that is otherwise 0, so that a dot product picks that channel.
#include "kernels/byte_tile.h"
#include "kernels/tile_block.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Tiles of a row that share the weights in registers, and quads of a unit where threads share out channels.
constexpr int kTogether = 2;
constexpr int64_t kQuadBlock = 4;

constexpr int64_t kMostChannels = 1 << 24;

FILIGREE_INLINE int64_t quadWords(int64_t taps) { return 8 + taps * 4; }

struct DepthwisePacking {
  int64_t channels, taps;
  bool weights_unsigned;
  int64_t input_zero_point;
};

const char* readPacking(const Step& step, DepthwisePacking* k) {
  k->channels = intParam(step, 2);
  k->taps = intParam(step, 3);
  if (k->channels < 1 || k->channels > kMostChannels || intParam(step, 0) != k->channels ||
      intParam(step, 1) != k->channels || k->taps < 1 || k->taps > kMostChannels) {
    return "pack.conv.segments.depthwise: sizes out of range";
  }
  if (intParam(step, 4)) return "pack.conv.segments.depthwise: the weights cannot be transposed";
  k->weights_unsigned = intParam(step, 5) != 0;
  const bool is_signed = intParam(step, 6) != 0;
  if (!byteRange(intParam(step, 7), is_signed)) return "pack.conv.segments.depthwise: the zero point is no input value";
  k->input_zero_point = intParam(step, 7) + (is_signed ? 128 : 0);
  return nullptr;
}

FILIGREE_INLINE int64_t packingWords(const DepthwisePacking& k) {
  return ceilDivide(k.channels, 4) * quadWords(k.taps);
}

size_t packedBytes(const Step& step) {
  DepthwisePacking k = {};
  return readPacking(step, &k) ? 0 : static_cast<size_t>(packingWords(k)) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  DepthwisePacking k = {};
  if (const char* problem = readPacking(step, &k)) return problem;
  if (!holds(step, 0, k.channels * k.taps, 1)) return "pack.conv.segments.depthwise: the weights are too few";
  const Operand &zeros = step.operands[1], &bias = step.operands[2];
  if (zeros.data && zeros.bytes != 1 && !holds(step, 1, k.channels, 1)) {
    return "pack.conv.segments.depthwise: neither one weight zero point nor one a channel";
  }
  if (bias.data && !holds(step, 2, k.channels, 4)) return "pack.conv.segments.depthwise: the biases are too few";
  if (!holds(step, 3, k.channels, 4)) return "pack.conv.segments.depthwise: the scales are too few";
  if (!holds(step, 4, packingWords(k), 4)) return "pack.conv.segments.depthwise: the packing is too small";
  work->units = ceilDivide(k.channels, 4);
  work->cost = static_cast<double>(k.channels * k.taps) * 2;
  return nullptr;
}

FILIGREE_INLINE int32_t byteValue(uint8_t byte, bool is_unsigned) {
  return is_unsigned ? byte : static_cast<int8_t>(byte);
}

/// The word that picks channel i of a quad.
FILIGREE_INLINE int32_t weightWord(int32_t weight, int64_t i) {
  if (kByteDots) return static_cast<int32_t>(static_cast<uint32_t>(weight & 255) << (8 * i));
  return static_cast<int32_t>(static_cast<uint32_t>(weight & 0xffff) << (i >= 2 ? 16 : 0));
}

void runPacking(const Step& step, Range* range) {
  DepthwisePacking k = {};
  readPacking(step, &k);
  const uint8_t* const weights = input<uint8_t>(step, 0);
  const Operand& zeros = step.operands[1];
  for (int64_t quad = range->begin; quad < range->end; quad++) {
    int32_t* const to = output<int32_t>(step, 4) + quad * quadWords(k.taps);
    for (int64_t i = 0; i < 4; i++) {
      const int64_t c = quad * 4 + i;
      const bool real = c < k.channels;
      const uint8_t zero = !zeros.data || !real ? 0 : zeros.data[zeros.bytes == 1 ? 0 : c];
      int64_t sum = 0;
      for (int64_t tap = 0; tap < k.taps; tap++) {
        const int32_t value =
            !real ? 0 : byteValue(weights[c * k.taps + tap], k.weights_unsigned) - byteValue(zero, k.weights_unsigned);
        if (value < -128 || value > 127) range->error = "a weight less its zero point is not a signed byte";
        to[8 + tap * 4 + i] = weightWord(value, i);
        sum += value;
      }
      const int64_t bias = real && step.operands[2].data ? input<int32_t>(step, 2)[c] : 0;
      to[i] = static_cast<int32_t>(static_cast<uint32_t>(bias - k.input_zero_point * sum));
      const float scale = real ? input<float>(step, 3)[c] : 0;
      std::memcpy(to + 4 + i, &scale, sizeof scale);
    }
  }
}

struct Depthwise {
  ConvParams p;
  ByteParams b;
  ByteEnd end;
  const int32_t *x, *packing;
  uint8_t *y, *residual;
  int64_t xLines, yLines, residualLines;
  int32_t flip;
  /// Words between taps.
  int64_t step[3];
};

FILIGREE_INLINE const char* readDepthwise(const Step& step, Depthwise* d) {
  if (const char* problem = readByteConv(step, 0, &d->p, &d->b)) return problem;
  const ConvParams& p = d->p;
  if (p.groups != p.channels_in || p.groups != p.channels_out) {
    return "conv.segments.depthwise: every channel is a group, as many out as in";
  }
  const bool floats = d->b.output == jit::kOutputFloat;
  d->end = byteEndOf(p, d->b);
  d->x = input<int32_t>(step, 0);
  d->packing = input<int32_t>(step, 1);
  d->residual = p.residual ? output<uint8_t>(step, 2) : nullptr;
  d->y = output<uint8_t>(step, 3);
  d->xLines = ceilDivide(p.in.C, 4);
  d->yLines = floats ? p.out.C : ceilDivide(p.out.C, 4);
  d->residualLines = floats ? p.res.C : ceilDivide(p.res.C, 4);
  d->flip = d->b.input_signed ? static_cast<int32_t>(0x80808080) : 0;
  d->step[2] = p.dilation[2] * d->xLines * kLine;
  d->step[1] = p.dilation[1] * p.in.gridX() * d->xLines * kLine;
  d->step[0] = p.dilation[0] * p.in.gridY() * p.in.gridX() * d->xLines * kLine;
  return nullptr;
}

FILIGREE_INLINE int64_t runsInRow(const ConvParams& p) { return ceilDivide(p.out.TW, kTogether); }

const char* checkDepthwise(const Step& step, Work* work) {
  Depthwise d = {};
  if (const char* problem = readDepthwise(step, &d)) return problem;
  const ConvParams& p = d.p;
  const int64_t quads = ceilDivide(p.channels_out, 4);
  if (!holds(step, 1, product(quads, quadWords(p.taps())), 4))
    return "conv.segments.depthwise: the packing is too small";
  work->units = p.split ? ceilDivide(quads, kQuadBlock) : p.out.groups() * p.out.D * p.out.TH * runsInRow(p);
  if (p.tiles() == 0) work->units = 0;
  work->cost = static_cast<double>(p.tiles()) * static_cast<double>(quads) *
               (15 + static_cast<double>(p.taps()) * (kLine / kLanes));
  return nullptr;
}

/// Four channels of kLanes positions: bytes where the CPU multiplies such, else 16-bit pairs, channels 0 and 2, then 1
/// and 3.
constexpr int kParts = kByteDots ? 1 : 2;
struct Quad {
  I32 part[kParts];
};

/// Unsigned bytes.
FILIGREE_INLINE Quad quadOf(I32 bytes) {
  Quad quad;
  quad.part[0] = kByteDots ? bytes : evenBytes(bytes);
  if (!kByteDots) quad.part[kParts - 1] = oddBytes(bytes);
  return quad;
}

/// Sums [4][T * 16] of one quad of channels of T neighbouring tiles, one vector of each line at a time.
template <int T>
FILIGREE_INLINE void dotQuad(const Depthwise& d, const int32_t* packing, const int32_t* x, int32_t* sums) {
  const int64_t tile = d.p.stride[2] * d.xLines * kLine;
  for (int v = 0; v < kLine; v += kLanes) {
    I32 acc[T][4];
    FILIGREE_UNROLL
    for (int i = 0; i < T * 4; i++) acc[i / 4][i % 4] = set1I(packing[i % 4]);
    const int32_t* w = packing + 8;
    for (int64_t kd = 0; kd < d.p.kernel[0]; kd++) {
      for (int64_t kh = 0; kh < d.p.kernel[1]; kh++) {
        const int32_t* at = x + v + kd * d.step[0] + kh * d.step[1];
        for (int64_t kw = 0; kw < d.p.kernel[2]; kw++, at += d.step[2], w += 4) {
          FILIGREE_UNROLL
          for (int t = 0; t < T; t++) {
            const Quad line = quadOf(loadI(at + t * tile) ^ d.flip);
            FILIGREE_UNROLL
            for (int i = 0; i < 4; i++) {
              const I32 weight = set1I(w[i]);
              acc[t][i] = kByteDots ? dotBytes(acc[t][i], line.part[0], weight)
                                    : acc[t][i] + dotPairs(line.part[i % kParts], weight);
            }
          }
        }
      }
    }
    FILIGREE_UNROLL
    for (int i = 0; i < T * 4; i++) storeI(sums + i % 4 * T * kLine + i / 4 * kLine + v, acc[i / 4][i % 4]);
  }
}

/// Quads [begin, end) of `count` neighbouring tiles.
FILIGREE_INLINE void computeTiles(const Depthwise& d, TileAt at, int64_t count, int64_t begin, int64_t end) {
  const ConvParams& p = d.p;
  const bool floats = d.b.output == jit::kOutputFloat;
  const int64_t out = p.out.tile(at.group, at.z, at.ty, at.tx), res = p.res.tile(at.group, at.z, at.ty, at.tx);
  const int32_t* const x = d.x + (tapTile(p, at, 0, 0, 0) * d.xLines + p.in_channel / 4) * kLine;
  int32_t sums[4 * kTogether * kLine];
  for (int64_t quad = begin; quad < end; quad++) {
    const int32_t* const packing = d.packing + quad * quadWords(p.taps());
    const float* const scale = reinterpret_cast<const float*>(packing + 4);
    if (count == kTogether) {
      dotQuad<kTogether>(d, packing, x + quad * kLine, sums);
    } else {
      dotQuad<1>(d, packing, x + quad * kLine, sums);
    }
    for (int64_t t = 0; t < count; t++) {
      const int64_t yLine = floats ? p.out_channel + quad * 4 : p.out_channel / 4 + quad;
      const int64_t residualLine = floats ? p.res_channel + quad * 4 : p.res_channel / 4 + quad;
      uint8_t* const y = d.y + ((out + t) * d.yLines + yLine) * 64;
      const uint8_t* const residual =
          d.residual ? d.residual + ((res + t) * d.residualLines + residualLine) * 64 : nullptr;
      if (floats) {
        finishFloats(d.end, least(4, p.channels_out - quad * 4), sums + t * kLine, count * kLine, scale,
                     reinterpret_cast<float*>(y), reinterpret_cast<const float*>(residual));
      } else {
        finishBytes(d.end, 4, sums + t * kLine, count * kLine, scale, reinterpret_cast<int32_t*>(y),
                    reinterpret_cast<const int32_t*>(residual));
      }
    }
  }
}

void runDepthwise(const Step& step, Range* range) {
  Depthwise d = {};
  readDepthwise(step, &d);
  const ConvParams& p = d.p;
  const int64_t runs = runsInRow(p), quads = ceilDivide(p.channels_out, 4);
  const int64_t begin = p.split ? range->begin * kQuadBlock : 0;
  const int64_t end = p.split ? least(range->end * kQuadBlock, quads) : quads;
  const int64_t first = p.split ? 0 : range->begin;
  const int64_t last = p.split ? p.out.groups() * p.out.D * p.out.TH * runs : range->end;
  for (int64_t unit = first; unit < last; unit++) {
    TileAt at = tileAt(p.out, unit / runs * p.out.TW);
    at.tx = unit % runs * kTogether;
    computeTiles(d, at, least(kTogether, p.out.TW - at.tx), begin, end);
  }
}

}  // namespace

// As of "pack.conv.segments.dense.u8"; the weights are [channels_out][1][taps].
FILIGREE_KERNEL(packConvSegmentsDepthwiseU8) = {
    "pack.conv.segments.depthwise.u8",
    "r:weights r:weight_zero_point? r:bias? r:scale w:packing",
    "i:groups i:channels_in i:channels_out i:taps i:transposed i:weights_unsigned i:input_signed i:input_zero_point",
    checkPacking,
    runPacking,
    packedBytes,
    nullptr,
    false};
// `y` may be `residual`.
FILIGREE_KERNEL(convSegmentsDepthwiseU8) = {"conv.segments.depthwise.u8",
                                            "r:x r:packing r:residual? w:y",
                                            FILIGREE_CONV_SCALARS " " FILIGREE_BYTE_SCALARS " " FILIGREE_CONV_LISTS,
                                            checkDepthwise,
                                            runDepthwise,
                                            nullptr,
                                            nullptr,
                                            false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
