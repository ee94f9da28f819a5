// Elementwise operations: their numbers, which are part of the plan format, and the float32 loops that several kernels
// share.
#pragma once
#include "kernels/space.h"

namespace filigree {
namespace FILIGREE_ISA {

enum UnaryOp : int64_t {
  kAbs,
  kNeg,
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kSigmoid,
  kTanh,
  kRelu,
  kLeakyRelu,  // x < 0 ? alpha x : x
  kElu,        // x < 0 ? alpha (e^x - 1) : x
  kSelu,       // beta (x > 0 ? x : alpha (e^x - 1))
  kCelu,       // max(0, x) + min(0, alpha (e^(x / alpha) - 1))
  kHardSigmoid,
  kHardSwish,
  kSoftplus,
  kSoftsign,
  kGelu,
  kGeluTanh,
  kErf,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kAsinh,
  kAcosh,
  kAtanh,
  kFloor,
  kCeil,
  kRound,
  kSign,
  kClip,             // min(max(x, alpha), beta)
  kThresholdedRelu,  // x > alpha ? x : 0
  kMish,
  kSwish,   // x sigmoid(alpha x)
  kShrink,  // x < -alpha ? x + beta : x > alpha ? x - beta : 0
  kAffine,  // alpha x + beta
  kNot,     // bool: !x; integers: ~x
  kUnaryOps,
  /// From here on the output is bool.
  kIsNaN = 64,
  kIsInf,  // alpha != 0: negative infinity counts; beta != 0: positive infinity counts
  kUnaryEnd
};

enum BinaryOp : int64_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMod,   // sign of the divisor
  kFmod,  // sign of the dividend
  kMax,
  kMin,
  kPRelu,   // a < 0 ? a b : a
  kBitAnd,  // also of bools
  kBitOr,
  kBitXor,
  kShiftLeft,
  kShiftRight,
  kBinaryOps,
  /// From here on the output is bool.
  kEqual = 64,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kBinaryEnd
};

/// y may be x.
typedef void (*UnaryRun)(const float* x, float* y, int64_t n, float alpha, float beta);
/// y may be a or b.
typedef void (*BinaryRun)(const float* a, const float* b, float* y, int64_t n);

/// The float32 loop of an operation with float output; null where there is none.
UnaryRun unaryRun(int64_t op);
BinaryRun binaryRun(int64_t op);

namespace {

/// y[i] = f(x[i]) over whole vectors and a rest.
template <class F>
FILIGREE_INLINE void mapVectors(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) storeN(y + i, f(loadN(x + i, static_cast<int>(n - i))), static_cast<int>(n - i));
}

template <class F>
FILIGREE_INLINE void mapPairs(const float* a, const float* b, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    storeN(y + i, f(loadN(a + i, rest), loadN(b + i, rest)), rest);
  }
}

/// y[i] = f(a[i], b[i]) element by element. y may be a or b: no iteration depends on another.
template <class T, class R, class F>
FILIGREE_INLINE void mapScalars(const T* a, const T* b, R* y, int64_t n, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<R>(f(a[i], b[i]));
}

constexpr const char* kBinaryParams = "i:op l:dims l:a_strides l:b_strides";

/// Check of binary kernels: a and b walk `dims` with their strides, y holds it densely.
template <class T>
const char* checkBinary(const Step& step, Work* work) {
  const int64_t op = intParam(step, 0);
  if (op < 0 || (op >= kBinaryOps && op < kEqual) || op >= kBinaryEnd) return "no binary operation of this number";
  Space space;
  if (const char* problem = readSpace(listParam(step, 1, 0), &space)) return problem;
  const int64_t size = sizeof(T);
  if (!reaches(step, 0, space, listParam(step, 1, 1), 0, size)) return "the strides leave a";
  if (!reaches(step, 1, space, listParam(step, 1, 2), 0, size)) return "the strides leave b";
  if (!holds(step, 2, space.count, op >= kEqual ? 1 : size)) return "y holds fewer elements than `dims`";
  elementWork(space.count, op == kPow || op == kMod || op == kFmod ? 3 : 0.05 * static_cast<double>(size), work);
  return nullptr;
}

/// Calls body(a, b, position, n) for every block of a binary step's units; false from it ends the walk.
template <class T, class Body>
FILIGREE_INLINE void forBinaryBlocks(const Step& step, const Range& range, Body body) {
  Space space;
  readSpace(listParam(step, 1, 0), &space);
  Fetcher<T> a, b;
  a.open(space, input<T>(step, 0), listParam(step, 1, 1));
  b.open(space, input<T>(step, 1), listParam(step, 1, 2));
  const int64_t end = unitEnd(range.end, space.count);
  int64_t position = range.begin * kUnitElements;
  Cursor cursor = cursorAt(space, position);
  while (position < end) {
    const int n = blockLength(space, cursor, end - position);
    if (!body(a.block(space, cursor, n), b.block(space, cursor, n), position, n)) return;
    advance(space, &cursor, n);
    position += n;
  }
}

constexpr const char* kUnaryParams = "i:op f:alpha f:beta i:count";

template <class T>
const char* checkUnary(const Step& step, Work* work) {
  const int64_t op = intParam(step, 0), count = intParam(step, 3);
  if (op < 0 || (op >= kUnaryOps && op < kIsNaN) || op >= kUnaryEnd) return "no unary operation of this number";
  if (!holds(step, 0, count, sizeof(T))) return "x holds fewer than `count` elements";
  if (!holds(step, 1, count, op >= kIsNaN ? 1 : sizeof(T))) return "y holds fewer than `count` elements";
  const bool slow = op >= kTan && op <= kAtanh;
  elementWork(count, slow ? 8 : 0.1 * static_cast<double>(sizeof(T)), work);
  return nullptr;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
