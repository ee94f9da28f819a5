// Tile registers of AMX: eight of up to 16 rows of 64 bytes, shaped by a configuration that each thread loads for
// itself. A product of tiles takes as long as its left tile has rows, so left tiles are channels or rows of the output.
#pragma once
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;
constexpr int kTileBytes = kTileRows * kTileRowBytes;

/// The compiler does not know that tile instructions read memory.
FILIGREE_INLINE void finishStores() { asm volatile("" ::: "memory"); }

/// Shapes of the tile registers, in the form that the processor loads.
struct alignas(64) TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];

  FILIGREE_INLINE_MEMBER void set(int tile, int64_t its_rows, int64_t its_row_bytes) {
    rows[tile] = static_cast<uint8_t>(its_rows);
    row_bytes[tile] = static_cast<uint16_t>(its_row_bytes);
  }
};

/// The tile registers in use, until it is gone: the thread's state is small again then. Registers 0 and 1 are sums of
/// the first left tile, 4, with right tiles, 2 and 3 those of the second, 5; right tiles are 6 and 7. Sums are
/// [rows][16], left tiles [rows][4 * depth] bytes, right tiles [depth][16][4] bytes. Without a second left tile 2 and 3
/// are as 0 and 1 are.
class TileUse {
 public:
  FILIGREE_INLINE_MEMBER TileUse() {}
  FILIGREE_INLINE_MEMBER ~TileUse() { _tile_release(); }
  FILIGREE_INLINE_MEMBER void shape(int64_t rows, int64_t second_rows, int64_t depth) {
    TileShapes shapes = {};
    shapes.palette = 1;
    if (second_rows == 0) second_rows = rows;
    for (int i = 0; i < 4; i++) shapes.set(i, i < 2 ? rows : second_rows, kTileRowBytes);
    shapes.set(4, rows, depth * 4);
    shapes.set(5, second_rows, depth * 4);
    for (int i = 6; i < 8; i++) shapes.set(i, depth, kTileRowBytes);
    finishStores();
    _tile_loadconfig(&shapes);
  }
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;
};

/// Weights that the next panel needs: so many lines of them are fetched at every step.
struct LinesAhead {
  const void* at;
  int64_t lines;

  FILIGREE_INLINE_MEMBER void step() {
    const char* line = static_cast<const char*>(at);
    for (int64_t i = 0; i < lines; i++, line += kTileRowBytes) __builtin_prefetch(line, 0, 2);
    at = line;
  }
  /// Goes on behind what `steps` steps of a copy fetched.
  FILIGREE_INLINE_MEMBER void skip(int64_t steps) { at = static_cast<const char*>(at) + steps * lines * kTileRowBytes; }
};

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
