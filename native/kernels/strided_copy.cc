// Movement without computing: transposes, slices, tiles, concatenations are all strided copies.
#include <cstring>

#include "kernels/space.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

struct Wide {
  uint64_t low, high;
};

/// Tile of the transposing path: both sides of it stay in the first-level cache.
constexpr int64_t kTile = 64;

struct Copy {
  Space space;
  Strides x, y;
  int64_t xOffset, yOffset;
  /// Dimension along which x is contiguous while y is not; -1 without one.
  int across;
  /// Dimensions but the last and `across`.
  Space outer;
  Strides outerX, outerY;
};

Copy readCopy(const Step& step) {
  Copy copy;
  readSpace(listParam(step, 3, 0), &copy.space);
  copy.x = readStrides(listParam(step, 3, 1));
  copy.y = readStrides(listParam(step, 3, 2));
  copy.xOffset = intParam(step, 1);
  copy.yOffset = intParam(step, 2);
  const int last = copy.space.rank - 1;
  copy.across = -1;
  if (copy.x.of[last] != 1 && copy.space.dims[last] > 1) {
    for (int i = 0; i < last; i++) {
      if (copy.x.of[i] == 1 && copy.space.dims[i] > 1) copy.across = i;
    }
  }
  copy.outer = {1, 1, {1}};
  copy.outerX = copy.outerY = {};
  int rank = 0;
  for (int i = 0; i < last; i++) {
    if (i == copy.across) continue;
    copy.outer.dims[rank] = copy.space.dims[i];
    copy.outer.count *= copy.space.dims[i];
    copy.outerX.of[rank] = copy.x.of[i];
    copy.outerY.of[rank] = copy.y.of[i];
    copy.outer.rank = ++rank;
  }
  if (rank == 0) copy.outer.rank = 1;
  return copy;
}

const char* checkStrided(const Step& step, Work* work) {
  const int64_t width = intParam(step, 0);
  if (width != 1 && width != 2 && width != 4 && width != 8 && width != 16)
    return "elements have 1, 2, 4, 8 or 16 bytes";
  Space space;
  if (const char* problem = readSpace(listParam(step, 3, 0), &space)) return problem;
  if (!reaches(step, 0, space, listParam(step, 3, 1), intParam(step, 1), width)) return "the strides leave x";
  if (!reaches(step, 1, space, listParam(step, 3, 2), intParam(step, 2), width)) return "the strides leave y";
  const Copy copy = readCopy(step);
  elementWork(space.count, copy.across >= 0 ? 0.3 : 0.03 * static_cast<double>(width), work);
  if (copy.across >= 0 && space.count > 0) {
    work->units = copy.outer.count * ((space.dims[copy.across] + kTile - 1) / kTile);
  }
  return nullptr;
}

typedef uint32_t Quad __attribute__((vector_size(16)));
typedef uint32_t QuadUnaligned __attribute__((vector_size(16), aligned(4), may_alias));

/// y[j * ys + i] = x[i * xs + j] for 4 x 4 words.
FILIGREE_INLINE void transposeQuad(const uint32_t* x, int64_t xs, uint32_t* y, int64_t ys) {
  const Quad a = *reinterpret_cast<const QuadUnaligned*>(x);
  const Quad b = *reinterpret_cast<const QuadUnaligned*>(x + xs);
  const Quad c = *reinterpret_cast<const QuadUnaligned*>(x + 2 * xs);
  const Quad d = *reinterpret_cast<const QuadUnaligned*>(x + 3 * xs);
  const Quad ab0 = __builtin_shuffle(a, b, Quad{0, 4, 1, 5}), ab1 = __builtin_shuffle(a, b, Quad{2, 6, 3, 7});
  const Quad cd0 = __builtin_shuffle(c, d, Quad{0, 4, 1, 5}), cd1 = __builtin_shuffle(c, d, Quad{2, 6, 3, 7});
  *reinterpret_cast<QuadUnaligned*>(y) = __builtin_shuffle(ab0, cd0, Quad{0, 1, 4, 5});
  *reinterpret_cast<QuadUnaligned*>(y + ys) = __builtin_shuffle(ab0, cd0, Quad{2, 3, 6, 7});
  *reinterpret_cast<QuadUnaligned*>(y + 2 * ys) = __builtin_shuffle(ab1, cd1, Quad{0, 1, 4, 5});
  *reinterpret_cast<QuadUnaligned*>(y + 3 * ys) = __builtin_shuffle(ab1, cd1, Quad{2, 3, 6, 7});
}

/// A rows x cols piece: x is contiguous along rows (xs: stride along cols), y has stride yr along rows and yc along
/// cols.
template <class T>
void transposeTile(const T* x, int64_t xs, T* y, int64_t yr, int64_t yc, int64_t rows, int64_t cols) {
  int64_t fullRows = 0, fullCols = 0;
  if constexpr (sizeof(T) == 4) {
    if (yc == 1) {
      fullRows = rows / 4 * 4;
      fullCols = cols / 4 * 4;
      for (int64_t r = 0; r < fullRows; r += 4) {
        for (int64_t c = 0; c < fullCols; c += 4) transposeQuad(x + c * xs + r, xs, y + r * yr + c, yr);
      }
    }
  }
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = r < fullRows ? fullCols : 0; c < cols; c++) y[r * yr + c * yc] = x[c * xs + r];
  }
}

template <class T>
void runAcross(const Step& step, const Copy& copy, const Range& range) {
  const int last = copy.space.rank - 1, across = copy.across;
  const int64_t rows = copy.space.dims[across], cols = copy.space.dims[last];
  const int64_t tiles = (rows + kTile - 1) / kTile;
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const Cursor cursor = cursorAt(copy.outer, unit / tiles);
    const int64_t row = unit % tiles * kTile;
    const int64_t height = rows - row < kTile ? rows - row : kTile;
    const T* x = input<T>(step, 0) + copy.xOffset + offsetOf(copy.outer, cursor, copy.outerX) + row;
    T* y = output<T>(step, 1) + copy.yOffset + offsetOf(copy.outer, cursor, copy.outerY) + row * copy.y.of[across];
    for (int64_t col = 0; col < cols; col += kTile) {
      const int64_t width = cols - col < kTile ? cols - col : kTile;
      transposeTile(x + col * copy.x.of[last], copy.x.of[last], y + col * copy.y.of[last], copy.y.of[across],
                    copy.y.of[last], height, width);
    }
  }
}

template <class T>
FILIGREE_INLINE void copyRun(const T* x, int64_t xs, T* y, int64_t ys, int64_t n) {
  if (xs == 1 && ys == 1) {
    if (n * static_cast<int64_t>(sizeof(T)) >= 64) {
      std::memmove(y, x, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; i++) y[i] = x[i];
    }
  } else if (xs == 0 && ys == 1) {
    const T value = *x;
    for (int64_t i = 0; i < n; i++) y[i] = value;
  } else {
    for (int64_t i = 0; i < n; i++) y[i * ys] = x[i * xs];
  }
}

template <class T>
void runRows(const Step& step, const Copy& copy, const Range& range) {
  const Space& space = copy.space;
  const int last = space.rank - 1;
  const T* x = input<T>(step, 0) + copy.xOffset;
  T* y = output<T>(step, 1) + copy.yOffset;
  int64_t left = unitEnd(range.end, space.count) - range.begin * kUnitElements;
  Cursor cursor = cursorAt(space, range.begin * kUnitElements);
  while (left > 0) {
    const int64_t row = space.dims[last] - cursor.at[last];
    const int64_t n = row < left ? row : left;
    copyRun(x + offsetOf(space, cursor, copy.x), copy.x.of[last], y + offsetOf(space, cursor, copy.y), copy.y.of[last],
            n);
    left -= n;
    advance(space, &cursor, n);
  }
}

template <class T>
void runWidth(const Step& step, const Range& range) {
  const Copy copy = readCopy(step);
  if (copy.across >= 0) {
    runAcross<T>(step, copy, range);
  } else {
    runRows<T>(step, copy, range);
  }
}

void runStrided(const Step& step, Range* range) {
  switch (intParam(step, 0)) {
    case 1:
      return runWidth<uint8_t>(step, *range);
    case 2:
      return runWidth<uint16_t>(step, *range);
    case 4:
      return runWidth<uint32_t>(step, *range);
    case 8:
      return runWidth<uint64_t>(step, *range);
    default:
      return runWidth<Wide>(step, *range);
  }
}

}  // namespace

// For every position of `dims`: y[y_offset + position . y_strides] = x[x_offset + position . x_strides], in elements of
// `width` bytes. x and y must not overlap; two positions must not write one element. Fast where the last dimension has
// stride 1 in y, and in x it or another one has.
FILIGREE_KERNEL(stridedCopy) = {
    "strided.copy", "r:x w:y",  "i:width i:x_offset i:y_offset l:dims l:x_strides l:y_strides",
    checkStrided,   runStrided, nullptr,
    nullptr,        false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
