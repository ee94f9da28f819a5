// Parameters that all convolutions and linear layers over segment maps share, dense and sparse, float and 8-bit.
#pragma once
#include "kernels/activation.h"
#include "kernels/segments.h"

/// The shared scalars. A kernel may append scalars of its own, then must end with FILIGREE_CONV_LISTS.
///   channels_in, channels_out: of the whole convolution; in_channel, out_channel, res_channel: where they begin in the
///   maps, whose C may be larger (a slice of a concatenation). 8-bit maps want multiples of 4 for these three.
///   pad_*: padding before the first position; what follows the last is given by the sizes of the maps.
///   split: 0 threads share out tiles, 1 they share out groups of output channels.
///   tile_block: tiles that run through one group of output channels before the next; 0 chooses by rule.
#define FILIGREE_CONV_SCALARS                                                       \
  "i:groups i:channels_in i:channels_out i:in_channel i:out_channel i:res_channel " \
  "i:kernel_d i:kernel_h i:kernel_w i:stride_d i:stride_h i:stride_w "              \
  "i:dilation_d i:dilation_h i:dilation_w i:pad_front i:pad_top i:pad_left "        \
  "i:activation f:alpha f:beta i:split i:tile_block"
/// Maps: `res` is empty where there is no residual.
#define FILIGREE_CONV_LISTS "l:in l:out l:res"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kConvScalars = 23;

struct ConvParams {
  int64_t groups, channels_in, channels_out, in_channel, out_channel, res_channel;
  int64_t kernel[3], stride[3], dilation[3], pad[3];
  int64_t activation;
  float alpha, beta;
  int64_t split, tile_block;
  SegmentMap in, out, res;
  bool residual;

  FILIGREE_INLINE_MEMBER int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  /// Interior tiles of the output, all image groups.
  FILIGREE_INLINE_MEMBER int64_t tiles() const { return out.groups() * out.D * out.TH * out.TW; }
};

/// Interior tile number `index` of a map that a kernel walks in order.
struct TileAt {
  int64_t group, z, ty, tx;
};

FILIGREE_INLINE TileAt tileAt(const SegmentMap& map, int64_t index) {
  TileAt at;
  at.tx = index % map.TW;
  index /= map.TW;
  at.ty = index % map.TH;
  index /= map.TH;
  at.z = index % map.D;
  at.group = index / map.D;
  return at;
}

/// Number of the input tile that tap (kd, kh, kw) of an output tile reads.
FILIGREE_INLINE int64_t tapTile(const ConvParams& p, TileAt at, int64_t kd, int64_t kh, int64_t kw) {
  return p.in.tile(at.group, at.z * p.stride[0] + kd * p.dilation[0] - p.pad[0],
                   at.ty * p.stride[1] + kh * p.dilation[1] - p.pad[1],
                   at.tx * p.stride[2] + kw * p.dilation[2] - p.pad[2]);
}

namespace conv_detail {

/// True where the taps of every output coordinate below `positions` lie in [-before, size + after).
FILIGREE_INLINE bool within(const ConvParams& p, int axis, int64_t positions, int64_t before, int64_t size,
                            int64_t after) {
  if (p.pad[axis] > before) return false;
  if (positions == 0) return true;
  const int64_t last = (positions - 1) * p.stride[axis] + (p.kernel[axis] - 1) * p.dilation[axis] - p.pad[axis];
  return last < size + after;
}

FILIGREE_INLINE bool samePositions(const SegmentMap& a, const SegmentMap& b) {
  return a.images == b.images && a.lane_images == b.lane_images && a.SY == b.SY && a.SX == b.SX;
}

}  // namespace conv_detail

/// Reads and validates the shared parameters of a kernel with `extra` scalars of its own: sizes are in range, the maps
/// fit each other, and, where it has to have `borders`, no tap leaves the input's grid. Operand sizes are for the
/// caller. Null, or what is wrong.
FILIGREE_INLINE const char* readConvParams(const Step& step, int extra, ConvParams* p, bool borders = true) {
  const int64_t limit = int64_t{1} << 24;
  const int64_t* w = step.words;
  p->groups = w[0], p->channels_in = w[1], p->channels_out = w[2];
  p->in_channel = w[3], p->out_channel = w[4], p->res_channel = w[5];
  for (int i = 0; i < 6; i++) {
    if (w[i] < 0 || w[i] > limit) return "channel numbers out of range";
  }
  for (int axis = 0; axis < 3; axis++) {
    p->kernel[axis] = w[6 + axis], p->stride[axis] = w[9 + axis];
    p->dilation[axis] = w[12 + axis], p->pad[axis] = w[15 + axis];
    if (p->kernel[axis] < 1 || p->kernel[axis] > limit) return "kernel size out of range";
    if (p->stride[axis] < 1 || p->stride[axis] > limit) return "stride out of range";
    if (p->dilation[axis] < 1 || p->dilation[axis] > limit) return "dilation out of range";
    if (p->pad[axis] < -limit || p->pad[axis] > limit) return "padding out of range";
  }
  p->activation = w[18];
  if (!knownActivation(p->activation)) return "no such activation";
  p->alpha = static_cast<float>(floatParam(step, 19));
  p->beta = static_cast<float>(floatParam(step, 20));
  p->split = w[21], p->tile_block = w[22];
  if (p->split < 0 || p->split > 1) return "split is 0 or 1";
  if (p->tile_block < 0) return "tile_block is negative";
  if (p->groups < 1 || p->channels_in % p->groups != 0 || p->channels_out % p->groups != 0) {
    return "groups must divide the channels";
  }
  if (product(p->kernel[0], product(p->kernel[1], p->kernel[2])) > limit) return "kernel size out of range";
  if (!readSegmentMap(listParam(step, kConvScalars + extra, 0), &p->in)) return "malformed input map";
  if (!readSegmentMap(listParam(step, kConvScalars + extra, 1), &p->out)) return "malformed output map";
  const List res = listParam(step, kConvScalars + extra, 2);
  p->residual = res.count != 0;
  p->res = p->out;
  if (p->residual && !readSegmentMap(res, &p->res)) return "malformed residual map";
  const SegmentMap &in = p->in, &out = p->out;
  if (!conv_detail::samePositions(in, out)) return "input and output deal the lanes differently";
  if (in.TH != p->stride[1] * out.TH || in.TW != p->stride[2] * out.TW)
    return "input tiles are not stride times output's";
  if (borders && (!conv_detail::within(*p, 0, out.D, in.front, in.D, in.back) ||
                  !conv_detail::within(*p, 1, out.TH, in.top, in.TH, in.bottom) ||
                  !conv_detail::within(*p, 2, out.TW, in.left, in.TW, in.right))) {
    return "the input map's borders are too narrow";
  }
  if (p->in_channel + p->channels_in > in.C || p->out_channel + p->channels_out > out.C)
    return "channels beyond the map";
  if (p->residual && (!conv_detail::samePositions(p->res, out) || p->res.D != out.D || p->res.TH != out.TH ||
                      p->res.TW != out.TW || p->res_channel + p->channels_out > p->res.C)) {
    return "the residual map does not match the output";
  }
  return nullptr;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
