// The kernel list of one instruction set; compiled once for each.
#include "engine/kernel.h"

namespace filigree {
namespace FILIGREE_ISA {

#define KERNEL(id) extern const KernelDef id;
#include "kernels/kernels.inc"
#undef KERNEL

namespace {
const KernelDef* const table[] = {
#define KERNEL(id) &id,
#include "kernels/kernels.inc"
#undef KERNEL
    nullptr};
}  // namespace

extern const KernelList kernelList;
const KernelList kernelList = {table, static_cast<int>(sizeof table / sizeof table[0]) - 1};

}  // namespace FILIGREE_ISA
}  // namespace filigree
