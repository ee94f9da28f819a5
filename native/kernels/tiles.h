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

/// Tile registers 0 to 3 for sums [rows][16], 4 and 5 for left tiles [rows][4 * depth] of bytes, 6 and 7 for right
/// tiles [depth][16][4]. In use as long as it lives; the thread's state is small again afterwards.
class TileUse {
 public:
  FILIGREE_INLINE_MEMBER TileUse(int64_t rows, int64_t depth) {
    TileShapes shapes = {};
    shapes.palette = 1;
    for (int i = 0; i < 4; i++) shapes.set(i, rows, kTileRowBytes);
    for (int i = 4; i < 6; i++) shapes.set(i, rows, depth * 4);
    for (int i = 6; i < 8; i++) shapes.set(i, depth, kTileRowBytes);
    finishStores();
    _tile_loadconfig(&shapes);
  }
  FILIGREE_INLINE_MEMBER ~TileUse() { _tile_release(); }
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;
};

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
