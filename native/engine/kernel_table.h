// Access to the kernels of every instruction set, and conversion of parameters to the form kernels read.
#pragma once
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "engine/kernel.h"

namespace filigree {

/// The kernels compiled for `isa`. Only call their functions where the CPU has it.
const KernelList& kernelsOf(Isa isa);

/// The kernel called `name`, or null.
const KernelDef* findKernel(Isa isa, const char* name);

/// Parsed form of KernelDef::params and KernelDef::operands.
struct KernelLayout {
  struct OperandSlot {
    std::string name;
    bool reads, writes, optional;
  };
  std::vector<OperandSlot> operands;
  /// Kinds of the scalar parameters in order: 'i' or 'f'.
  std::string scalars;
  int lists = 0;
};
KernelLayout layoutOf(const KernelDef& kernel);

/// Converts the numbers of a step to words: one a scalar, then for each list its length and items, as `numbers` has
/// them. Integers must be whole and below 2^53 in magnitude. Returns null, or a static text saying what is wrong.
const char* encodeWords(const KernelLayout& layout, const double* numbers, size_t count, std::vector<int64_t>* words);

}  // namespace filigree
