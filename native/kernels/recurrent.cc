// Recurrent cells over whole sequences: RNN, GRU and LSTM, given the inputs' part of all gates.
//
// A unit is one direction for a few batch entries. Lanes are hidden units: a panel of recurrent weights holds the gates
// of one vector of them, so that a cell is finished in registers. Recurrent weights of few nonzeros come by rows
// instead, and are multiplied nonzero by nonzero.
#include "kernels/activation.h"
#include "kernels/sparse_rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kGroupRows = 4;
#else
constexpr int kGroupRows = 3;
#endif

/// States of the rows of a group, side by side.
constexpr int kQuad = 4;
typedef float Quad __attribute__((vector_size(16)));
static_assert(kGroupRows <= kQuad, "a group's rows fit a quad");

enum { kGates, kWeights, kCandidateWeights, kBias, kPeepholes, kLengths, kFirstH, kFirstC, kY, kLastH, kLastC };
enum {
  kDirections,
  kLength,
  kBatch,
  kHidden,
  kBatchFirst,
  kReverse,
  kLinearBeforeReset,
  kCoupled,
  kClip,
  kSparse,
  kDensity,
  kScalars
};
enum Kind { kVanilla, kGru, kLinearGru, kLstm };

struct Problem {
  int64_t directions, length, batch, hidden, batch_first, reverse, linear_before_reset, coupled;
  float clip;
  bool sparse;
  List activations;

  FILIGREE_INLINE_MEMBER int64_t panels() const { return (hidden + kLanes - 1) / kLanes; }
  FILIGREE_INLINE_MEMBER int64_t groups() const { return (batch + kGroupRows - 1) / kGroupRows; }
  /// Where the state of a batch entry begins.
  FILIGREE_INLINE_MEMBER int64_t state(int64_t d, int64_t n) const {
    return (batch_first ? n * directions + d : d * batch + n) * hidden;
  }
  /// Row of X, and of the gates.
  FILIGREE_INLINE_MEMBER int64_t row(int64_t t, int64_t n) const {
    return batch_first ? n * length + t : t * batch + n;
  }
  FILIGREE_INLINE_MEMBER int64_t result(int64_t d, int64_t t, int64_t n) const {
    return (batch_first ? row(t, n) * directions + d : (t * directions + d) * batch + n) * hidden;
  }
};

Problem readProblem(const Step& step) {
  Problem p;
  p.directions = intParam(step, kDirections), p.length = intParam(step, kLength), p.batch = intParam(step, kBatch);
  p.hidden = intParam(step, kHidden), p.batch_first = intParam(step, kBatchFirst);
  p.reverse = intParam(step, kReverse), p.linear_before_reset = intParam(step, kLinearBeforeReset);
  p.coupled = intParam(step, kCoupled), p.clip = static_cast<float>(floatParam(step, kClip));
  p.sparse = intParam(step, kSparse) != 0;
  p.activations = listParam(step, kScalars, 0);
  return p;
}

/// What the weights lack, or null. Sparse weights stand in one packing, also those of a candidate that is apart.
const char* checkWeights(const Step& step, const Problem& p, int64_t gates) {
  if (p.sparse) {
    const double density = floatParam(step, kDensity);
    if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
    if (p.hidden > kNarrowColumns) return "the hidden size is too large for sparse weights";
    const int64_t rows = product(product(p.directions, gates), p.hidden);
    return holds(step, kWeights, sparseRowsBytes(rows, p.hidden, 0), 1) ? nullptr : "the packing is cut short";
  }
  const bool apart = gates == 3 && !p.linear_before_reset;
  const int64_t panel = product(product(p.directions, p.panels()), p.hidden * kLanes);
  if (!holds(step, kWeights, product(panel, apart ? 2 : gates), 4))
    return "the weights are smaller than they should be";
  if (apart && !holds(step, kCandidateWeights, panel, 4))
    return "the candidate's weights are smaller than they should be";
  return nullptr;
}

const char* checkCell(const Step& step, Work* work, int64_t gates, int64_t kinds) {
  const Problem p = readProblem(step);
  const int64_t limit = int64_t{1} << 40;
  const int64_t sizes[] = {p.directions, p.length, p.batch};
  for (int64_t size : sizes) {
    if (size < 0 || size > limit) return "sizes are out of range";
  }
  if (p.hidden <= 0 || p.hidden > 1 << 20) return "the hidden size is out of range";
  if (p.activations.count != product(p.directions, kinds)) return "a direction lacks activations";
  for (int64_t i = 0; i < p.activations.count; i++) {
    if (!knownActivation(p.activations.items[i])) return "no such activation";
  }
  const int64_t states = product(product(p.directions, p.batch), p.hidden);
  const int64_t all = product(states, p.length);
  if (!holds(step, kGates, product(all, gates), 4)) return "the gates are smaller than their sizes say";
  if (const char* const problem = checkWeights(step, p, gates)) return problem;
  const int64_t vectors = product(p.directions, p.hidden);
  if (step.operands[kBias].bytes && !holds(step, kBias, vectors, 4)) return "the bias is smaller than the hidden size";
  if (step.operands[kPeepholes].bytes && !holds(step, kPeepholes, product(vectors, 3), 4)) {
    return "the peepholes are smaller than the hidden size";
  }
  if (step.operands[kLengths].bytes && !holds(step, kLengths, p.batch, 4))
    return "there are fewer lengths than sequences";
  const int state_operands[] = {kFirstH, kFirstC, kLastH, kLastC};
  for (int k : state_operands) {
    if (step.operands[k].bytes && !holds(step, k, states, 4)) return "a state is smaller than its sizes say";
  }
  if (step.operands[kY].bytes && !holds(step, kY, all, 4)) return "y is smaller than its sizes say";
  work->units = product(p.directions, p.groups());
  const double products = static_cast<double>(p.hidden) * (p.sparse ? floatParam(step, kDensity) * 0.4 * kLanes : 1.2);
  work->cost = static_cast<double>(all) * static_cast<double>(gates) * (products + 20) / kLanes;
  work->scratch = static_cast<size_t>((4 * kGroupRows + kQuad) * p.panels() * kLanes) * 4;
  return nullptr;
}

/// sums[r][g] = h[r] times gate g of a panel [hidden][G][lanes]. One row alone takes several sums in turn: a chain of
/// additions would wait for each.
template <int G, int R>
FILIGREE_INLINE void multiply(const float* panel, const float* h, int64_t stride, int64_t hidden, F32 (&sums)[R][G]) {
  constexpr int U = R > 1 ? 1 : 8 / G;
  F32 acc[U][R][G];
  for (int u = 0; u < U; u++) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < G; g++) acc[u][r][g] = zero();
    }
  }
  int64_t k = 0;
  for (; k + U <= hidden; k += U) {
    for (int u = 0; u < U; u++) {
      for (int g = 0; g < G; g++) {
        const F32 line = load(panel + ((k + u) * G + g) * kLanes);
        for (int r = 0; r < R; r++) acc[u][r][g] = fma(set1(h[r * stride + k + u]), line, acc[u][r][g]);
      }
    }
  }
  for (; k < hidden; k++) {
    for (int g = 0; g < G; g++) {
      const F32 line = load(panel + (k * G + g) * kLanes);
      for (int r = 0; r < R; r++) acc[0][r][g] = fma(set1(h[r * stride + k]), line, acc[0][r][g]);
    }
  }
  for (int r = 0; r < R; r++) {
    for (int g = 0; g < G; g++) {
      for (int u = 1; u < U; u++) acc[0][r][g] += acc[u][r][g];
      sums[r][g] = acc[0][r][g];
    }
  }
}

/// One direction for up to kGroupRows batch entries, at one time step.
struct Moment {
  const float *weights, *candidate, *bias, *peepholes;
  const int64_t* activations;
  /// Per row: gates, and y or null; null gates for a row whose sequence has ended.
  const float* gates[kGroupRows];
  float* y[kGroupRows];
  /// State, its successor, cell and the reset state: rows of `stride`.
  float *h, *next, *c, *reset;
  int64_t stride;
  /// Sparse weights: those of all directions, the first row of this one, and room for the states as quads.
  SparseMatrix<uint16_t> matrix;
  int64_t first_row;
  float* quads;
};

/// The row times the vectors of quads [columns][4].
FILIGREE_INLINE Quad dotQuads(const SparseRow<uint16_t>& row, const float* quads) {
  Quad sums[4] = {};
  const auto add = [&](int64_t i, int u) {
    Quad x;
    std::memcpy(&x, quads + int64_t{row.columns[i]} * kQuad, sizeof x);
    sums[u] += row.weights[i] * x;
  };
  int64_t i = 0;
  for (; i + 4 <= row.n; i += 4) {
    FILIGREE_UNROLL
    for (int u = 0; u < 4; u++) add(i + u, u);
  }
  for (; i < row.n; i++) add(i, 0);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// Makes `h` ready for multiplyGates: sparse weights meet several rows as quads.
template <int R>
FILIGREE_INLINE void placeRows(const Problem& p, const Moment& m, const float* h) {
  if (!p.sparse || R == 1) return;
  for (int64_t k = 0; k < p.hidden; k++) {
    for (int r = 0; r < kQuad; r++) m.quads[k * kQuad + r] = r < R ? h[r * m.stride + k] : 0;
  }
}

template <int G, int R>
void multiplySparse(const Problem& p, const Moment& m, int64_t gate, int64_t at, const float* h, F32 (&sums)[R][G]) {
  const int64_t lanes = p.hidden - at < kLanes ? p.hidden - at : kLanes;
  for (int g = 0; g < G; g++) {
    alignas(64) float values[R][kLanes] = {};
    const int64_t first = m.first_row + (gate + g) * p.hidden + at;
    for (int64_t i = 0; i < lanes; i++) {
      const SparseRow<uint16_t> row = m.matrix.row(first + i);
      if constexpr (R == 1) {
        values[0][i] = dotVector(row, h);
      } else {
        const Quad sum = dotQuads(row, m.quads);
        for (int r = 0; r < R; r++) values[r][i] = sum[r];
      }
    }
    for (int r = 0; r < R; r++) sums[r][g] = load(values[r]);
  }
}

/// sums[r][g] = h[r] times gate `gate` + g of the units from `at` on; `packing` holds these G gates where it is dense.
template <int G, int R>
FILIGREE_INLINE void multiplyGates(const Problem& p, const Moment& m, const float* packing, int64_t gate, int64_t at,
                                   const float* h, F32 (&sums)[R][G]) {
  if (p.sparse) return multiplySparse<G, R>(p, m, gate, at, h, sums);
  multiply<G, R>(packing + at * p.hidden * G, h, m.stride, p.hidden, sums);
}

FILIGREE_INLINE F32 clipped(const Problem& p, F32 x, int64_t kind) {
  return apply(min(set1(p.clip), max(set1(-p.clip), x)), kind, 0, 0);
}

FILIGREE_INLINE void emit(const Moment& m, int r, int64_t at, F32 h, int lanes) {
  store(m.next + r * m.stride + at, h);
  if (m.y[r]) storeN(m.y[r] + at, h, lanes);
}

FILIGREE_INLINE void lstmCell(const Problem& p, const Moment& m, int r, int64_t at, int lanes, const F32 (&sums)[4]) {
  const int64_t n = p.hidden;
  const float* x = m.gates[r] + at;
  float* c = m.c + r * m.stride + at;
  const F32 old = load(c);
  const bool peep = m.peepholes != nullptr;
  const F32 to_i = peep ? loadN(m.peepholes + at, lanes) : zero();
  const F32 to_o = peep ? loadN(m.peepholes + n + at, lanes) : zero();
  const F32 to_f = peep ? loadN(m.peepholes + 2 * n + at, lanes) : zero();
  const int64_t f = m.activations[0];
  const F32 in = clipped(p, fma(to_i, old, loadN(x, lanes) + sums[0]), f);
  const F32 forget = p.coupled ? 1.0f - in : clipped(p, fma(to_f, old, loadN(x + 2 * n, lanes) + sums[2]), f);
  const F32 cell = fma(forget, old, in * clipped(p, loadN(x + 3 * n, lanes) + sums[3], m.activations[1]));
  const F32 out = clipped(p, fma(to_o, cell, loadN(x + n, lanes) + sums[1]), f);
  store(c, cell);
  emit(m, r, at, out * apply(cell, m.activations[2], 0, 0), lanes);
}

FILIGREE_INLINE void gruCell(const Problem& p, const Moment& m, int r, int64_t at, int lanes, F32 update,
                             F32 candidate) {
  const F32 z = clipped(p, update, m.activations[0]);
  const F32 h = clipped(p, candidate, m.activations[1]);
  const F32 old = load(m.h + r * m.stride + at);
  emit(m, r, at, fma(z, old - h, h), lanes);
}

template <int R>
void stepLstm(const Problem& p, const Moment& m) {
  placeRows<R>(p, m, m.h);
  for (int64_t at = 0, left = p.hidden; left > 0; at += kLanes, left -= kLanes) {
    F32 sums[R][4];
    multiplyGates<4, R>(p, m, m.weights, 0, at, m.h, sums);
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    for (int r = 0; r < R; r++) {
      if (m.gates[r]) lstmCell(p, m, r, at, lanes, sums[r]);
    }
  }
}

template <int R>
void stepVanilla(const Problem& p, const Moment& m) {
  placeRows<R>(p, m, m.h);
  for (int64_t at = 0, left = p.hidden; left > 0; at += kLanes, left -= kLanes) {
    F32 sums[R][1];
    multiplyGates<1, R>(p, m, m.weights, 0, at, m.h, sums);
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    for (int r = 0; r < R; r++) {
      if (m.gates[r]) emit(m, r, at, clipped(p, loadN(m.gates[r] + at, lanes) + sums[r][0], m.activations[0]), lanes);
    }
  }
}

template <int R>
void stepLinearGru(const Problem& p, const Moment& m) {
  const int64_t n = p.hidden;
  placeRows<R>(p, m, m.h);
  for (int64_t at = 0, left = n; left > 0; at += kLanes, left -= kLanes) {
    F32 sums[R][3];
    multiplyGates<3, R>(p, m, m.weights, 0, at, m.h, sums);
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    const F32 bias = m.bias ? loadN(m.bias + at, lanes) : zero();
    for (int r = 0; r < R; r++) {
      if (!m.gates[r]) continue;
      const float* x = m.gates[r] + at;
      const F32 reset = clipped(p, loadN(x + n, lanes) + sums[r][1], m.activations[0]);
      const F32 candidate = fma(reset, sums[r][2] + bias, loadN(x + 2 * n, lanes));
      gruCell(p, m, r, at, lanes, loadN(x, lanes) + sums[r][0], candidate);
    }
  }
}

/// The reset gate of all units comes before the candidate's product; update gates wait in the successor's place.
template <int R>
void stepGru(const Problem& p, const Moment& m) {
  const int64_t n = p.hidden;
  placeRows<R>(p, m, m.h);
  for (int64_t at = 0, left = n; left > 0; at += kLanes, left -= kLanes) {
    F32 sums[R][2];
    multiplyGates<2, R>(p, m, m.weights, 0, at, m.h, sums);
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    for (int r = 0; r < R; r++) {
      if (!m.gates[r]) continue;
      const float* x = m.gates[r] + at;
      const F32 reset = clipped(p, loadN(x + n, lanes) + sums[r][1], m.activations[0]);
      store(m.reset + r * m.stride + at, reset * load(m.h + r * m.stride + at));
      store(m.next + r * m.stride + at, loadN(x, lanes) + sums[r][0]);
    }
  }
  placeRows<R>(p, m, m.reset);
  for (int64_t at = 0, left = n; left > 0; at += kLanes, left -= kLanes) {
    F32 sums[R][1];
    multiplyGates<1, R>(p, m, m.candidate, 2, at, m.reset, sums);
    const int lanes = static_cast<int>(left < kLanes ? left : kLanes);
    const F32 bias = m.bias ? loadN(m.bias + at, lanes) : zero();
    for (int r = 0; r < R; r++) {
      if (!m.gates[r]) continue;
      const F32 candidate = loadN(m.gates[r] + 2 * n + at, lanes) + sums[r][0] + bias;
      gruCell(p, m, r, at, lanes, load(m.next + r * m.stride + at), candidate);
    }
  }
}

template <Kind K, int R>
FILIGREE_INLINE void stepRows(const Problem& p, const Moment& m) {
  if constexpr (K == kLstm) stepLstm<R>(p, m);
  if constexpr (K == kVanilla) stepVanilla<R>(p, m);
  if constexpr (K == kGru) stepGru<R>(p, m);
  if constexpr (K == kLinearGru) stepLinearGru<R>(p, m);
}

template <Kind K>
void stepCell(const Problem& p, const Moment& m, int64_t rows) {
  if (rows == 1) return stepRows<K, 1>(p, m);
  if (rows == 2) return stepRows<K, 2>(p, m);
  if (rows == 3) return stepRows<K, 3>(p, m);
#if defined(FILIGREE_AVX512)
  if (rows == 4) return stepRows<K, 4>(p, m);
#endif
}

void loadState(const Step& step, int operand, int64_t at, float* state, int64_t hidden) {
  if (step.operands[operand].bytes) std::memcpy(state, input<float>(step, operand) + at, hidden * 4);
}

template <Kind K>
constexpr int kGateCount = K == kLstm      ? 4
                           : K == kVanilla ? 1
                                           : 3;

template <Kind K>
Moment momentOf(const Step& step, const Problem& p, int64_t d, float* scratch) {
  constexpr int kTogether = K == kLstm ? 4 : K == kVanilla ? 1 : K == kGru ? 2 : 3;
  constexpr int kKinds = K == kLstm ? 3 : K == kVanilla ? 1 : 2;
  const int64_t panel = p.panels() * p.hidden * kLanes;
  Moment m = {};
  if (p.sparse) {
    m.matrix = sparseMatrix<uint16_t>(reinterpret_cast<const SparseRows*>(step.operands[kWeights].data));
    m.first_row = d * kGateCount<K> * p.hidden;
  } else {
    m.weights = input<float>(step, kWeights) + d * panel * kTogether;
    m.candidate = K == kGru ? input<float>(step, kCandidateWeights) + d * panel : nullptr;
  }
  m.bias = step.operands[kBias].bytes ? input<float>(step, kBias) + d * p.hidden : nullptr;
  m.peepholes = step.operands[kPeepholes].bytes ? input<float>(step, kPeepholes) + d * 3 * p.hidden : nullptr;
  m.activations = p.activations.items + d * kKinds;
  m.stride = p.panels() * kLanes;
  const int64_t block = kGroupRows * m.stride;
  for (int64_t i = 0; i < 4 * block; i += kLanes) store(scratch + i, zero());
  m.h = scratch, m.next = scratch + block, m.c = scratch + 2 * block, m.reset = scratch + 3 * block;
  m.quads = scratch + 4 * block;
  return m;
}

/// Direction d of `rows` sequences from `first` on.
template <Kind K>
void runSequences(const Step& step, const Problem& p, int64_t d, int64_t first, int64_t rows, Range* range) {
  const int64_t width = kGateCount<K> * p.hidden;
  Moment m = momentOf<K>(step, p, d, reinterpret_cast<float*>(range->scratch));
  float* y = step.operands[kY].bytes ? output<float>(step, kY) : nullptr;
  int64_t lengths[kGroupRows], longest = 0;
  for (int64_t r = 0; r < rows; r++) {
    lengths[r] = step.operands[kLengths].bytes ? input<int32_t>(step, kLengths)[first + r] : p.length;
    if (lengths[r] < 0 || lengths[r] > p.length) {
      range->error = "a sequence length is out of range";
      return;
    }
    longest = lengths[r] > longest ? lengths[r] : longest;
    loadState(step, kFirstH, p.state(d, first + r), m.h + r * m.stride, p.hidden);
    loadState(step, kFirstC, p.state(d, first + r), m.c + r * m.stride, p.hidden);
    for (int64_t t = lengths[r]; y && t < p.length; t++) std::memset(y + p.result(d, t, first + r), 0, p.hidden * 4);
  }
  const bool reverse = d == 1 || p.reverse;
  for (int64_t i = 0; i < longest; i++) {
    for (int64_t r = 0; r < rows; r++) {
      const bool runs = i < lengths[r];
      const int64_t t = reverse ? lengths[r] - 1 - i : i;
      m.gates[r] = runs ? input<float>(step, kGates) + (p.row(t, first + r) * p.directions + d) * width : nullptr;
      m.y[r] = runs && y ? y + p.result(d, t, first + r) : nullptr;
      if (!runs) std::memcpy(m.next + r * m.stride, m.h + r * m.stride, m.stride * 4);
    }
    stepCell<K>(p, m, rows);
    float* swap = m.h;
    m.h = m.next, m.next = swap;
  }
  for (int64_t r = 0; r < rows; r++) {
    const int64_t at = p.state(d, first + r);
    if (step.operands[kLastH].bytes) std::memcpy(output<float>(step, kLastH) + at, m.h + r * m.stride, p.hidden * 4);
    if (step.operands[kLastC].bytes) std::memcpy(output<float>(step, kLastC) + at, m.c + r * m.stride, p.hidden * 4);
  }
}

template <Kind K>
void runCell(const Step& step, Range* range) {
  const Problem p = readProblem(step);
  if (p.sparse && !sparseRowsOf(step.operands[kWeights], p.directions * kGateCount<K> * p.hidden, p.hidden)) {
    range->error = "the packing was made for another product";
  }
  for (int64_t unit = range->begin; unit < range->end && !range->error; unit++) {
    const int64_t d = unit / p.groups(), first = unit % p.groups() * kGroupRows;
    const int64_t rows = p.batch - first < kGroupRows ? p.batch - first : kGroupRows;
    runSequences<K>(step, p, d, first, rows, range);
  }
}

void runGru(const Step& step, Range* range) {
  if (readProblem(step).linear_before_reset) return runCell<kLinearGru>(step, range);
  runCell<kGru>(step, range);
}

const char* checkVanilla(const Step& step, Work* work) { return checkCell(step, work, 1, 1); }
const char* checkGru(const Step& step, Work* work) { return checkCell(step, work, 3, 2); }
const char* checkLstm(const Step& step, Work* work) { return checkCell(step, work, 4, 3); }

enum { kPackDirections, kPackGates, kPackHidden, kPackFirst, kPackCount };

const char* checkPack(const Step& step, Work* work) {
  const int64_t directions = intParam(step, kPackDirections), gates = intParam(step, kPackGates);
  const int64_t hidden = intParam(step, kPackHidden), first = intParam(step, kPackFirst);
  const int64_t count = intParam(step, kPackCount);
  if (gates < 0 || first < 0 || count < 0 || first > gates || count > gates - first) return "no such gates";
  if (hidden <= 0 || hidden > 1 << 20) return "the hidden size is out of range";
  if (!holds(step, 0, product(product(directions, gates), hidden * hidden), 4)) {
    return "the weights are smaller than their sizes say";
  }
  work->units = 1;
  work->cost = static_cast<double>(directions * count) * static_cast<double>(hidden * hidden);
  work->scratch = 0;
  return nullptr;
}

size_t packBytes(const Step& step) {
  const int64_t hidden = intParam(step, kPackHidden), panels = (hidden + kLanes - 1) / kLanes;
  const int64_t lines = intParam(step, kPackDirections) * panels * hidden * intParam(step, kPackCount);
  return static_cast<size_t>(lines * kLanes * 4);
}

/// Source [directions][gates * hidden][hidden]; result [directions][panel][hidden][count][lanes] of gates from `first`.
void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const int64_t directions = intParam(step, kPackDirections), gates = intParam(step, kPackGates);
  const int64_t hidden = intParam(step, kPackHidden), first = intParam(step, kPackFirst);
  const int64_t count = intParam(step, kPackCount);
  float* packed = output<float>(step, 1);
  for (int64_t d = 0; d < directions; d++) {
    const float* source = input<float>(step, 0) + d * gates * hidden * hidden;
    for (int64_t at = 0; at < hidden; at += kLanes) {
      for (int64_t k = 0; k < hidden; k++) {
        for (int64_t g = first; g < first + count; g++) {
          for (int64_t i = at; i < at + kLanes; i++) {
            *packed++ = i < hidden ? source[(g * hidden + i) * hidden + k] : 0;
          }
        }
      }
    }
  }
}

constexpr char kOperands[] =
    "r:gates r:weights r:candidate_weights? r:bias? r:peepholes? r:lengths? r:first_h? r:first_c? w:y? w:last_h? "
    "w:last_c?";
constexpr char kParams[] =
    "i:directions i:length i:batch i:hidden i:batch_first i:reverse i:linear_before_reset i:coupled f:clip "
    "i:sparse f:density l:activations";

}  // namespace

// Cells over sequences. `gates` holds the inputs' part with its biases: [row of X][direction][gate][hidden], where rows
// of X are [length, batch], or [batch, length] where batch_first. `weights` are packings of the recurrent weights; the
// GRU without linear_before_reset takes those of z and r, and those of h as candidate_weights. Where `sparse`,
// `weights` is one packing of pack.matmul.sparse.f32 for all gates, and `density` says what it will cost. The GRU's
// `bias` [direction][hidden] is the candidate's recurrent one. `lengths` int32 [batch]. Outputs as ONNX lays them out;
// y is zero behind the end of a sequence. `activations` are kinds of activation.h, those of a direction together.
FILIGREE_KERNEL(rnnF32) = {"rnn.f32", kOperands, kParams, checkVanilla, runCell<kVanilla>, nullptr, nullptr, false};
FILIGREE_KERNEL(gruF32) = {"gru.f32", kOperands, kParams, checkGru, runGru, nullptr, nullptr, false};
FILIGREE_KERNEL(lstmF32) = {"lstm.f32", kOperands, kParams, checkLstm, runCell<kLstm>, nullptr, nullptr, false};
FILIGREE_KERNEL(packRecurrent) = {"pack.recurrent.f32",
                                  "r:weights w:packing",
                                  "i:directions i:gates i:hidden i:first i:count",
                                  checkPack,
                                  runPack,
                                  packBytes,
                                  nullptr,
                                  false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
