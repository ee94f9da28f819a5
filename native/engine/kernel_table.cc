#include "engine/kernel_table.h"

#include <cmath>
#include <cstring>
#include <sstream>

namespace filigree {

#define DECLARE_LIST(isa)             \
  namespace isa {                     \
  extern const KernelList kernelList; \
  }
DECLARE_LIST(portable)
#if defined(__x86_64__)
DECLARE_LIST(avx2)
DECLARE_LIST(avx512)
DECLARE_LIST(avx512vnni)
DECLARE_LIST(avx512bf16)
DECLARE_LIST(amx)
#endif
#undef DECLARE_LIST

namespace {

#if defined(__x86_64__)
/// The kernels of a level with those of the next in the place of those of the same name, and what only the next has
/// behind them.
struct RaisedKernels {
  std::vector<const KernelDef*> kernels;
  KernelList list;

  RaisedKernels(const KernelList& base, const KernelList& next) : kernels(base.kernels, base.kernels + base.count) {
    for (int i = 0; i < next.count; i++) add(next.kernels[i]);
    list = {kernels.data(), static_cast<int>(kernels.size())};
  }
  void add(const KernelDef* kernel) {
    for (const KernelDef*& held : kernels) {
      if (std::strcmp(held->name, kernel->name) == 0) {
        held = kernel;
        return;
      }
    }
    kernels.push_back(kernel);
  }
};

// Never destroyed: pool threads may outlive static objects while the process exits.
const KernelList& vnniKernels() {
  static const RaisedKernels& all = *new RaisedKernels(avx512::kernelList, avx512vnni::kernelList);
  return all.list;
}

const KernelList& bf16Kernels() {
  static const RaisedKernels& all = *new RaisedKernels(vnniKernels(), avx512bf16::kernelList);
  return all.list;
}

const KernelList& amxKernels() {
  static const RaisedKernels& all = *new RaisedKernels(bf16Kernels(), amx::kernelList);
  return all.list;
}
#endif

}  // namespace

const KernelList& kernelsOf(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return avx2::kernelList;
  if (isa == Isa::kAvx512) return avx512::kernelList;
  if (isa == Isa::kAvx512Vnni) return vnniKernels();
  if (isa == Isa::kAvx512Bf16) return bf16Kernels();
  if (isa == Isa::kAmx) return amxKernels();
#endif
  return portable::kernelList;
}

const KernelDef* findKernel(Isa isa, const char* name) {
  const KernelList& list = kernelsOf(isa);
  for (int i = 0; i < list.count; i++) {
    if (std::strcmp(list.kernels[i]->name, name) == 0) return list.kernels[i];
  }
  return nullptr;
}

KernelLayout layoutOf(const KernelDef& kernel) {
  KernelLayout layout;
  std::string word;
  for (std::istringstream in(kernel.operands); in >> word;) {
    const size_t colon = word.find(':');
    const std::string mode = word.substr(0, colon);
    const bool optional = word.back() == '?';
    if (optional) word.pop_back();
    layout.operands.push_back({word.substr(colon + 1), mode != "w", mode != "r", optional});
  }
  for (std::istringstream in(kernel.params); in >> word;) {
    if (word[0] == 'l') {
      layout.lists++;
    } else {
      layout.scalars += word[0];
    }
  }
  return layout;
}

namespace {

bool wholeNumber(double value, int64_t* out) {
  if (!(std::fabs(value) <= 9007199254740992.0) || value != std::floor(value)) return false;
  *out = static_cast<int64_t>(value);
  return true;
}

}  // namespace

const char* encodeWords(const KernelLayout& layout, const double* numbers, size_t count, std::vector<int64_t>* words) {
  words->resize(count);
  const size_t scalars = layout.scalars.size();
  if (count < scalars) return "fewer parameters than the kernel takes";
  for (size_t i = 0; i < count; i++) {
    if (i < scalars && layout.scalars[i] == 'f') {
      std::memcpy(&(*words)[i], numbers + i, sizeof(double));
    } else if (!wholeNumber(numbers[i], &(*words)[i])) {
      return "an integer parameter is not a whole number";
    }
  }
  size_t at = scalars;
  for (int list = 0; list < layout.lists; list++) {
    if (at >= count) return "a list parameter is missing";
    const int64_t length = (*words)[at];
    if (length < 0 || static_cast<uint64_t>(length) > count - at - 1) return "a list parameter is cut short";
    at += 1 + static_cast<size_t>(length);
  }
  return at == count ? nullptr : "more parameters than the kernel takes";
}

}  // namespace filigree
