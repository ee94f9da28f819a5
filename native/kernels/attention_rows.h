// Attention of few queries over keys and values that lie in rows: row by row, at memory speed. Include only from
// kernel sources.
#pragma once
#include "kernels/attention_problem.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// The sums of four vectors, one after the other.
FILIGREE_INLINE void reduceAdd4(const F32 (&x)[4], float* sums) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  __m256 half[4];
  for (int i = 0; i < 4; i++) {
#if defined(FILIGREE_AVX512)
    half[i] = _mm256_add_ps(_mm512_castps512_ps256(x[i]),
                            _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x[i]), 1)));
#else
    half[i] = x[i];
#endif
  }
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
#else
  for (int i = 0; i < 4; i++) sums[i] = reduceAdd(x[i]);
#endif
}

/// Scores of G queries, which lie one after the other like their scores, with `count` keys.
template <int G>
void scoreRows(const Problem& p, const float* queries, const float* k, int64_t count, float* scores) {
  for (int64_t j = 0; j < count; j += 4) {
    // The last keys are repeated where there are less than four.
    const float* keys[4];
    for (int64_t i = 0; i < 4; i++) keys[i] = k + (j + i < count ? j + i : count - 1) * p.k.row;
    F32 acc[G][4];
    for (int g = 0; g < G; g++) {
      for (int i = 0; i < 4; i++) acc[g][i] = zero();
    }
    for (int64_t d = 0; d < p.head_size; d += kLanes) {
      const int lanes = static_cast<int>(p.head_size - d < kLanes ? p.head_size - d : kLanes);
      F32 key[4];
      for (int i = 0; i < 4; i++) key[i] = lanes == kLanes ? load(keys[i] + d) : loadN(keys[i] + d, lanes);
      for (int g = 0; g < G; g++) {
        const float* from = queries + g * p.head_size + d;
        const F32 query = lanes == kLanes ? load(from) : loadN(from, lanes);
        for (int i = 0; i < 4; i++) acc[g][i] = fma(query, key[i], acc[g][i]);
      }
    }
    for (int g = 0; g < G; g++) {
      float sums[4];
      reduceAdd4(acc[g], sums);
      for (int64_t i = 0; i < 4 && j + i < count; i++) scores[g * count + j + i] = sums[i];
    }
  }
}

/// Scores of one query to weights; their sum.
float weighRow(const Problem& p, const Head& head, float* scores, int64_t count) {
  F32 top = set1(-__builtin_inff());
  for (int64_t j = 0; j < count; j += kLanes) {
    const int lanes = static_cast<int>(count - j < kLanes ? count - j : kLanes);
    F32 s = capped(loadN(scores + j, lanes), p.softcap);
    if (head.mask) {
      F32 entries = zero();
      for (int i = 0; i < lanes; i++) entries[i] = maskEntry(p, head.mask, head.mask_at + (j + i) * p.mask.column);
      s += entries;
    }
    storeN(scores + j, s, lanes);
    top = larger(top, loadN(scores + j, lanes, -__builtin_inff()));
  }
  float best = top[0];
  for (int i = 1; i < kLanes; i++) best = top[i] > best || top[i] != top[i] ? top[i] : best;
  const F32 shift = set1(best == -__builtin_inff() ? 0 : best);
  F32 sum = zero();
  for (int64_t j = 0; j < count; j += kLanes) {
    const int lanes = static_cast<int>(count - j < kLanes ? count - j : kLanes);
    const F32 e = weightOf(loadN(scores + j, lanes, -__builtin_inff()) - shift);
    storeN(scores + j, e, lanes);
    sum += e;
  }
  return reduceAdd(sum) + sinkTerm(head, set1(best))[0];
}

/// Adds the weighted first `columns` elements of the values' rows, at most V vectors, to G lines of sums.
template <int G, int V>
FILIGREE_INLINE void sumValues(const Problem& p, const float* weights, int64_t stride, const float* v, int64_t count,
                               int64_t columns, float* sums) {
  const int64_t line = p.valueLine();
  F32 acc[G][V];
  int lanes[V];
  for (int i = 0; i < V; i++) {
    const int64_t rest = columns - i * kLanes;
    lanes[i] = static_cast<int>(rest < 0 ? 0 : rest < kLanes ? rest : kLanes);
    for (int g = 0; g < G; g++) acc[g][i] = lanes[i] ? load(sums + g * line + i * kLanes) : zero();
  }
  const bool whole = columns >= V * kLanes;
  for (int64_t j = 0; j < count; j++, v += p.v.row) {
    F32 value[V];
    for (int i = 0; i < V; i++) {
      value[i] = whole ? load(v + i * kLanes) : loadN(lanes[i] ? v + i * kLanes : v, lanes[i]);
    }
    for (int g = 0; g < G; g++) {
      const F32 weight = set1(weights[g * stride + j]);
      for (int i = 0; i < V; i++) acc[g][i] = fma(weight, value[i], acc[g][i]);
    }
  }
  for (int g = 0; g < G; g++) {
    for (int i = 0; i < V && lanes[i]; i++) store(sums + g * line + i * kLanes, acc[g][i]);
  }
}

/// Weighted sums of the values' rows, in blocks of keys whose values stay in the first cache, to G lines.
template <int G>
void sumRows(const Problem& p, const float* weights, const float* v, int64_t count, float* sums) {
  constexpr int V = 4;
  constexpr int64_t kBlockElements = 4096;
  const int64_t block = p.value_size < kBlockElements / 8 ? kBlockElements / (p.value_size + 1) + 1 : 8;
  for (int64_t i = 0; i < G * p.valueLine(); i += kLanes) store(sums + i, zero());
  for (int64_t j = 0; j < count; j += block) {
    const int64_t keys = count - j < block ? count - j : block;
    for (int64_t d = 0; d < p.value_size; d += V * kLanes) {
      sumValues<G, V>(p, weights + j, count, v + j * p.v.row + d, keys, p.value_size - d, sums + d);
    }
  }
}

/// One query of G heads that share their keys; `heads`, `q` and `y` are the first of them.
template <int G>
void runRows(const Problem& p, Head (&heads)[kGroup], const float* q, float* y, float* scratch) {
  float* queries = scratch;
  float* scores = scratch + G * p.head_size;
  for (int g = 0; g < G; g++) {
    for (int64_t d = 0; d < p.head_size; d++) {
      queries[g * p.head_size + d] = q[g * p.q.head + d * p.q.column] * p.scale;
    }
  }
  const int64_t start = p.start(heads[0].first), end = p.visible(heads[0].first);
  const int64_t count = end > start ? end - start : 0;
  scoreRows<G>(p, queries, heads[0].k + start * p.k.row, count, scores);
  F32 totals[G];
  for (int g = 0; g < G; g++) {
    heads[g].mask_at += start * p.mask.column;
    totals[g] = set1(weighRow(p, heads[g], scores + g * count, count));
  }
  float* sums = scores + G * count;
  sumRows<G>(p, scores, heads[0].v + start * p.v.row, count, sums);
  for (int g = 0; g < G; g++) {
    const float* line = sums + g * p.valueLine();
    for (int64_t d = 0; d < p.value_size; d += kLanes) {
      const F32 result = finish(p, totals[g], load(line + d));
      float* to = y + g * p.y.head + d * p.y.column;
      for (int64_t l = 0; l < kLanes && d + l < p.value_size; l++) to[l * p.y.column] = result[l];
    }
  }
}

template <int G>
FILIGREE_INLINE void runSome(int64_t count, const Problem& p, Head (&heads)[kGroup], const float* q, float* y,
                             float* scratch) {
  if constexpr (G > 0) {
    if (count == G) return runRows<G>(p, heads, q, y, scratch);
    runSome<G - 1>(count, p, heads, q, y, scratch);
  }
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
