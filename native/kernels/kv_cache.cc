// Keys or values of a decoder: the rows before a call and the call's own, joined per batch entry.
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kPast, kFresh, kLast, kPresent };
enum { kBatch, kHeads, kCapacity, kLength, kKept, kRowBytes, kTotal, kPrompt, kScalars };

const char* checkAppend(const Step& step, Work* work) {
  const int64_t batch = intParam(step, kBatch), heads = intParam(step, kHeads), kept = intParam(step, kKept);
  const int64_t capacity = intParam(step, kCapacity), length = intParam(step, kLength), row = intParam(step, kRowBytes);
  const int64_t total = intParam(step, kTotal), limit = int64_t{1} << 32;
  const int64_t sizes[] = {batch, heads, length, kept, capacity, row, total};
  for (int64_t n : sizes) {
    if (n < 0 || n > limit) return "sizes are out of range";
  }
  if (kept < total || kept < capacity) return "the present state is shorter than what it keeps";
  const List at = listParam(step, kScalars, 0);
  if (at.count != 4) return "the fresh rows' place has three strides and an offset";
  int64_t end = at.items[3];
  if (end < 0) return "the fresh rows begin before their operand";
  bool empty = row == 0;
  for (int i = 0; i < 3; i++) {
    empty = empty || sizes[i] == 0;
    const int64_t span = sizes[i] ? product(sizes[i] - 1, at.items[i]) : 0;
    if (span < 0 || __builtin_add_overflow(end, span, &end)) return "the fresh rows are out of range";
  }
  if (__builtin_add_overflow(end, row, &end)) return "the fresh rows are out of range";
  if (!empty && !holds(step, kFresh, end, 1)) return "the fresh rows are fewer than their sizes say";
  const int64_t states = product(batch, heads);
  if (!holds(step, kPast, product(states, capacity), row)) return "the past is smaller than its sizes say";
  if (!holds(step, kLast, batch, 4)) return "last is smaller than its sizes say";
  if (!holds(step, kPresent, product(states, kept), row)) return "the present is smaller than its sizes say";
  work->units = states;
  work->cost = static_cast<double>(states) * static_cast<double>(kept) * static_cast<double>(row) / 8;
  work->scratch = 0;
  return nullptr;
}

void runAppend(const Step& step, Range* range) {
  const int64_t heads = intParam(step, kHeads), kept = intParam(step, kKept), row = intParam(step, kRowBytes);
  const int64_t capacity = intParam(step, kCapacity), length = intParam(step, kLength), total = intParam(step, kTotal);
  const int64_t* at = listParam(step, kScalars, 0).items;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t b = unit / heads, h = unit % heads, tokens = int64_t{input<int32_t>(step, kLast)[b]} + 1;
    const int64_t seen = intParam(step, kPrompt) ? 0 : tokens - length;
    if (tokens < 0 || tokens > total || seen < 0 || seen > capacity) {
      range->error = "a batch entry's last key does not fit the past and the new keys";
      return;
    }
    uint8_t* to = output<uint8_t>(step, kPresent) + unit * kept * row;
    const uint8_t* fresh = input<uint8_t>(step, kFresh) + at[3] + b * at[0] + h * at[1];
    const int64_t added = length < total - seen ? length : total - seen, end = seen + added;
    if (seen) {
      std::memcpy(to, input<uint8_t>(step, kPast) + unit * capacity * row, static_cast<size_t>(seen * row));
    }
    for (int64_t i = 0; i < added; i++) {
      std::memcpy(to + (seen + i) * row, fresh + i * at[2], static_cast<size_t>(row));
    }
    std::memset(to + end * row, 0, static_cast<size_t>((kept - end) * row));
  }
}

}  // namespace

// present [batch, heads, kept] of rows = the first rows of past [batch, heads, capacity], the fresh rows [batch, heads,
// length], then zeros. last [batch] int32 is the number of an entry's last key: the fresh rows end there, or where
// prompt begin at 0 as far as `total` rows go. `fresh` gives strides along batch, heads and rows and an offset, in
// bytes.
FILIGREE_KERNEL(kvAppend) = {"kv.append",
                             "r:past? r:fresh r:last w:present",
                             "i:batch i:heads i:capacity i:length i:kept i:row_bytes i:total i:prompt l:fresh",
                             checkAppend,
                             runAppend,
                             nullptr,
                             nullptr,
                             false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
