// What the processor offers and what the process may use of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace filigree {

/// Instruction-set levels in ascending order; a CPU that has one has all before it.
enum class Isa : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Vnni = 3, kAvx512Bf16 = 4, kAmx = 5 };
inline constexpr int kIsaCount = 6;

/// Lower-case name as used by FILIGREE_ISA ("portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx").
const char* isaName(Isa isa);

/// True where the CPU and the operating system support a level. Asking for AMX asks the system for the use of its tile
/// registers, once: that is granted to all threads of the process, present and to come.
bool supports(Isa isa);

/// The best level this CPU and operating system support.
Isa detectIsa();

/// True where products of bfloat16 on vectors are faster than those of float32: twice on AMD's processors. Intel's have
/// them at half the rate of float32, and tiles for those who want speed.
bool hasFastBf16Vectors();

struct CacheSizes {
  size_t l1d, l2, l3;  ///< bytes; 0 when unknown
};
CacheSizes cacheSizes();

/// Cores usable by this process: the affinity mask, capped by the cgroup CPU quota (rounded up), at least 1.
int usableCores();

/// Brand string, or an empty string where the CPU tells none.
std::string cpuBrand();

}  // namespace filigree
