// The kernel list of one instruction set; compiled once for each. VNNI has those of bytes alone, BF16 those of bfloat16
// and AMX those of tiles and bfloat16: engine/kernel_table.cc adds them to AVX-512's.
#include "engine/kernel.h"

namespace filigree {
namespace FILIGREE_ISA {

#if defined(FILIGREE_ISA_avx512vnni)
#define FILIGREE_LIST "kernels/byte_kernels.inc"
#elif defined(FILIGREE_ISA_avx512bf16)
#define FILIGREE_LIST "kernels/bf16_kernels.inc"
#elif defined(FILIGREE_ISA_amx)
#define FILIGREE_LIST "kernels/amx_kernels.inc"
#else
#define FILIGREE_LIST "kernels/kernels.inc"
#endif

#define KERNEL(id) extern const KernelDef id;
#include FILIGREE_LIST
#undef KERNEL

namespace {
const KernelDef* const table[] = {
#define KERNEL(id) &id,
#include FILIGREE_LIST
#undef KERNEL
    nullptr};
}  // namespace

extern const KernelList kernelList;
const KernelList kernelList = {table, static_cast<int>(sizeof table / sizeof table[0]) - 1};

}  // namespace FILIGREE_ISA
}  // namespace filigree
