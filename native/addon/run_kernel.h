#pragma once
#include <napi.h>

namespace filigree {

/// listKernels(isa): [{name, operands, params, packer}]; the position is the kernel's id in plans.
Napi::Value listKernels(const Napi::CallbackInfo& info);

/// runKernel(isa, name, operands, numbers, parts = 1, repeats = 0): runs a kernel on typed arrays and packings. With
/// repeats it returns the least nanoseconds over that many runs. Throws what the kernel's check says.
Napi::Value runKernel(const Napi::CallbackInfo& info);

/// runPacker(isa, name, sources, numbers): an opaque packing for runKernel.
Napi::Value runPacker(const Napi::CallbackInfo& info);

/// packingBytes(packing): a copy of what runPacker made, as a Uint8Array.
Napi::Value packingBytes(const Napi::CallbackInfo& info);

/// alignedBuffer(bytes): an ArrayBuffer that begins at a multiple of 64 bytes, zeroed.
Napi::Value alignedBuffer(const Napi::CallbackInfo& info);

}  // namespace filigree
