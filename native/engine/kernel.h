// What a kernel is: plain data shared by the engine and by every instruction set's kernels.
// Nothing here has inline functions: a shared inline function could be emitted with one set's instructions and run on
// a CPU without them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace filigree {

/// One buffer a step works on. `data` is null for an omitted operand.
struct Operand {
  uint8_t* data;
  size_t bytes;
};

/// A decoded step: operands in the order of KernelDef::operands, parameters in the order of KernelDef::params.
struct Step {
  const Operand* operands;
  int operandCount;
  /// One 64-bit word a scalar ("f" words hold the bits of a double), then for each list its length and its items.
  const int64_t* words;
  int wordCount;
};

/// What a kernel's check tells the scheduler.
struct Work {
  /// Independent units; a call of run takes a range of them. 0 is legal: nothing to do.
  int64_t units;
  /// Rough cost of all units in nanoseconds on one core; small steps stay on one thread.
  double cost;
  /// Private scratch bytes a thread needs during run (64-byte aligned).
  size_t scratch;
};

/// The part of a step that one thread runs.
struct Range {
  int64_t begin, end;
  uint8_t* scratch;
  /// Set to a static text by a kernel that meets bad data (an index out of range); the run then fails with it.
  const char* error;
};

/// A kernel of one instruction set.
struct KernelDef {
  /// Unique name, such as "binary.f32".
  const char* name;
  /// Space-separated "r:name" (read), "w:name" (written), "rw:name"; with a trailing "?" on the name: may be omitted.
  const char* operands;
  /// Space-separated "i:name" (integer), "f:name" (double), then lists "l:name" (integers). Lists come last.
  const char* params;
  /// Validates parameters against operand sizes (data pointers may be null here; only bytes count) and fills `work`.
  /// Returns null, or a static text saying what is wrong. No other member may be called when it fails.
  const char* (*check)(const Step& step, Work* work);
  /// Runs units [begin, end).
  void (*run)(const Step& step, Range* range);
  /// For packers only: bytes of the last operand, which run fills. Null for ordinary kernels. Unlike check, it may read
  /// the sources: what a sparse packing takes depends on them. A packer's check is called with 2^62 bytes as its last
  /// operand before, and once more with what packedBytes gave.
  size_t (*packedBytes)(const Step& step);
  /// Where the parts of an uneven step begin: the first unit of part `part` of `parts` (0 <= part <= parts; 0 gives 0,
  /// parts gives Work::units). Null splits the units evenly.
  int64_t (*boundary)(const Step& step, int part, int parts);
  /// For packers only: the packing holds machine code; the engine maps it executable once it is filled.
  bool executable;
};

/// Null-terminated list of an instruction set's kernels.
struct KernelList {
  const KernelDef* const* kernels;
  int count;
};

}  // namespace filigree
