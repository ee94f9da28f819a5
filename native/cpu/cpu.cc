#include "cpu/cpu.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define FILIGREE_X86 1
#endif

namespace filigree {

const char* isaName(Isa isa) {
  static const char* const names[kIsaCount] = {"portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"};
  return names[static_cast<int>(isa)];
}

namespace {

#ifdef FILIGREE_X86
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

bool hasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#if defined(__x86_64__) && defined(__linux__)
/// Tiles with products of bytes and of bfloat16.
bool cpuHasTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsSavesRegisters = 1u << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsSavesRegisters)) return false;
  constexpr unsigned kTileBf16 = 1u << 22, kTiles = 1u << 24, kTileInt8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return (d & (kTileBf16 | kTiles | kTileInt8)) == (kTileBf16 | kTiles | kTileInt8);
}

/// True where the system keeps tile registers and lets this process use them. Refusals are no errors: a kernel before
/// Linux 5.16, a sandbox, or a thread whose alternative signal stack is too small for them.
bool systemGrantsTiles() {
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileConfig = 1u << 17, kTileData = 1u << 18;
  if ((low & (kTileConfig | kTileData)) != (kTileConfig | kTileData)) return false;
  constexpr long kRequestPermission = 0x1023, kTileDataFeature = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileDataFeature) == 0;
}
#endif

bool hasAmx() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool usable = cpuHasTiles() && systemGrantsTiles();
  return usable;
#else
  return false;
#endif
}

}  // namespace

bool supports(Isa isa) {
#ifdef FILIGREE_X86
  __builtin_cpu_init();
  if (isa >= Isa::kAvx2 && !hasAvx2()) return false;
  if (isa >= Isa::kAvx512 && !hasAvx512()) return false;
  if (isa >= Isa::kAvx512Vnni && !__builtin_cpu_supports("avx512vnni")) return false;
  if (isa >= Isa::kAvx512Bf16 && !__builtin_cpu_supports("avx512bf16")) return false;
  return isa < Isa::kAmx || hasAmx();
#else
  return isa == Isa::kPortable;
#endif
}

bool hasFastBf16Vectors() {
#ifdef FILIGREE_X86
  return supports(Isa::kAvx512Bf16) && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

Isa detectIsa() {
  int level = kIsaCount - 1;
  while (level > 0 && !supports(static_cast<Isa>(level))) level--;
  return static_cast<Isa>(level);
}

namespace {

/// Bytes of the third level that the first core shares, as Linux tells it; 0 where it does not. What sysconf says of
/// processors with several such caches is their sum.
size_t sharedCache() {
  size_t kilobytes = 0;
  if (FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r")) {
    if (std::fscanf(file, "%zuK", &kilobytes) != 1) kilobytes = 0;
    std::fclose(file);
  }
  return kilobytes * 1024;
}

}  // namespace

CacheSizes cacheSizes() {
  CacheSizes sizes{0, 0, 0};
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  sizes.l1d = static_cast<size_t>(std::max(0L, sysconf(_SC_LEVEL1_DCACHE_SIZE)));
  sizes.l2 = static_cast<size_t>(std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE)));
  sizes.l3 = static_cast<size_t>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE)));
#endif
  if (const size_t shared = sharedCache()) sizes.l3 = shared;
  return sizes;
}

namespace {

/// CPU quota of the cgroup in cores (0 when unlimited or unknown), for cgroup v2 and v1.
double cgroupQuota() {
  double quota = 0, period = 0;
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    char text[64] = {0};
    if (std::fscanf(file, "%63s %lf", text, &period) == 2 && std::strcmp(text, "max") != 0) {
      std::sscanf(text, "%lf", &quota);
    }
    std::fclose(file);
    return quota > 0 && period > 0 ? quota / period : 0;
  }
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(file, "%lf", &quota) != 1) quota = 0;
    std::fclose(file);
  }
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
    if (std::fscanf(file, "%lf", &period) != 1) period = 0;
    std::fclose(file);
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

int usableCores() {
  int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = std::max(1, CPU_COUNT(&set));
#endif
  const double quota = cgroupQuota();
  if (quota > 0) cores = std::min(cores, std::max(1, static_cast<int>(quota + 0.999)));
  return cores;
}

std::string cpuBrand() {
#ifdef FILIGREE_X86
  unsigned regs[12] = {0};
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_max(0x80000000u, nullptr) < 0x80000004u) return "";
  for (unsigned i = 0; i < 3; i++) {
    __get_cpuid(0x80000002u + i, &a, &b, &c, &d);
    regs[i * 4] = a;
    regs[i * 4 + 1] = b;
    regs[i * 4 + 2] = c;
    regs[i * 4 + 3] = d;
  }
  char text[49] = {0};
  std::memcpy(text, regs, 48);
  return text;
#else
  return "";
#endif
}

}  // namespace filigree
