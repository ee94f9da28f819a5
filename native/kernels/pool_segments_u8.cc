// Maximum pooling over 8-bit segment maps. What lies outside the image holds the least byte.
#include "kernels/byte_params.h"
#include "kernels/conv_params.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // signed
constexpr int kPoolLines = 8 / kLineVectors;
/// Quads of a unit where threads share out channels.
constexpr int64_t kQuadBlock = 4;

typedef uint8_t U8 __attribute__((vector_size(kLanes * 4)));

struct Pool {
  ConvParams p;
  const int32_t* x;
  int32_t* y;
  int32_t flip;
  int64_t xLines, yLines;
  /// Words between taps.
  int64_t step[3];
};

FILIGREE_INLINE const char* readPool(const Step& step, Pool* pool) {
  if (const char* problem = readConvParams(step, kExtra, &pool->p)) return problem;
  const ConvParams& p = pool->p;
  if (p.channels_in != p.channels_out) return "pool.segments: as many channels out as in";
  if (p.residual || p.activation != kActivationNone) return "pool.segments: no residual and no activation of bytes";
  if (p.in_channel % 4 != 0 || !wholeQuads(p.out_channel, p.channels_out, p.out)) {
    return "pool.segments: channels of bytes come in fours";
  }
  if (!holdsSegments(step, 0, p.in, 1)) return "pool.segments: the input is too small";
  if (!holdsSegments(step, 1, p.out, 1)) return "pool.segments: the output is too small";
  pool->x = input<int32_t>(step, 0);
  pool->y = output<int32_t>(step, 1);
  pool->flip = intParam(step, kConvScalars) ? static_cast<int32_t>(0x80808080) : 0;
  pool->xLines = ceilDivide(p.in.C, 4);
  pool->yLines = ceilDivide(p.out.C, 4);
  pool->step[2] = p.dilation[2] * pool->xLines * kLine;
  pool->step[1] = p.dilation[1] * p.in.gridX() * pool->xLines * kLine;
  pool->step[0] = p.dilation[0] * p.in.gridY() * p.in.gridX() * pool->xLines * kLine;
  return nullptr;
}

const char* check(const Step& step, Work* work) {
  Pool pool = {};
  if (const char* problem = readPool(step, &pool)) return problem;
  const ConvParams& p = pool.p;
  const int64_t quads = ceilDivide(p.channels_out, 4);
  work->units = p.split ? ceilDivide(quads, kQuadBlock) : p.tiles();
  if (p.tiles() == 0) work->units = 0;
  const double lines = static_cast<double>(p.tiles()) * static_cast<double>(quads);
  work->cost = lines * (4 + static_cast<double>(p.taps()) * (kLine / kLanes) * 0.2);
  return nullptr;
}

template <int lines>
FILIGREE_INLINE void poolLines(const Pool& pool, const int32_t* x, int32_t* y) {
  constexpr int count = lines * kLineVectors;
  U8 acc[count] = {};
  for (int64_t d = 0; d < pool.p.kernel[0]; d++) {
    for (int64_t h = 0; h < pool.p.kernel[1]; h++) {
      const int32_t* at = x + d * pool.step[0] + h * pool.step[1];
      for (int64_t w = 0; w < pool.p.kernel[2]; w++, at += pool.step[2]) {
        FILIGREE_UNROLL
        for (int i = 0; i < count; i++) {
          const U8 line = reinterpret_cast<U8>(loadI(at + i * kLanes) ^ pool.flip);
          acc[i] = line > acc[i] ? line : acc[i];
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int i = 0; i < count; i++) storeI(y + i * kLanes, reinterpret_cast<I32>(acc[i]) ^ pool.flip);
}

void run(const Step& step, Range* range) {
  Pool pool = {};
  readPool(step, &pool);
  const ConvParams& p = pool.p;
  const int64_t quads = ceilDivide(p.channels_out, 4);
  const int64_t begin = p.split ? range->begin * kQuadBlock : 0;
  const int64_t end = p.split ? least(range->end * kQuadBlock, quads) : quads;
  const int64_t first = p.split ? 0 : range->begin, last = p.split ? p.tiles() : range->end;
  for (int64_t i = first; i < last; i++) {
    const TileAt at = tileAt(p.out, i);
    const int32_t* const x = pool.x + (tapTile(p, at, 0, 0, 0) * pool.xLines + p.in_channel / 4) * kLine;
    const int64_t tile = p.out.tile(at.group, at.z, at.ty, at.tx);
    int32_t* const y = pool.y + (tile * pool.yLines + p.out_channel / 4) * kLine;
    int64_t quad = begin;
    for (; quad + kPoolLines <= end; quad += kPoolLines)
      poolLines<kPoolLines>(pool, x + quad * kLine, y + quad * kLine);
    for (; quad < end; quad++) poolLines<1>(pool, x + quad * kLine, y + quad * kLine);
  }
}

}  // namespace

FILIGREE_KERNEL(poolSegmentsMaxU8) = {"pool.segments.max.u8",
                                      "r:x w:y",
                                      FILIGREE_CONV_SCALARS " i:signed " FILIGREE_CONV_LISTS,
                                      check,
                                      run,
                                      nullptr,
                                      nullptr,
                                      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
