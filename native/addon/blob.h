// Constants and packings.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "addon/values.h"
#include "engine/kernel_table.h"
#include "engine/memory.h"

namespace filigree {

/// An ArrayBuffer used in place. Lives and dies on its environment's thread.
class HeldBuffer {
 public:
  HeldBuffer(napi_env env, const View& view);
  ~HeldBuffer();
  HeldBuffer(const HeldBuffer&) = delete;

  bool holds(napi_env env, const View& view) const;
  /// Extends the part that is needed.
  void cover(const View& view);
  /// False where the buffer was transferred or has shrunk since.
  bool intact(napi_env env) const;

 private:
  napi_env env_;
  napi_ref reference_ = nullptr;
  bool shared_;
  uint8_t* base_ = nullptr;
  size_t needed_ = 0;
};

/// Bytes that plans and packers read: memory of its own, or someone's ArrayBuffer.
struct Blob {
  Block memory;
  std::shared_ptr<HeldBuffer> held;
  uint8_t* data = nullptr;
  size_t bytes = 0;
  /// Holds generated code.
  bool code = false;
};

std::shared_ptr<Blob> requireBlob(napi_env env, napi_value value);
/// An External for a blob; its own memory counts as external memory of the heap.
Napi::Value wrapBlob(Napi::Env env, std::shared_ptr<Blob> blob);

/// A packer, its sources and parameters; fill() makes the blob.
struct PackCall {
  const KernelDef* kernel = nullptr;
  std::vector<Operand> operands;
  std::vector<int64_t> words;
  std::vector<std::shared_ptr<Blob>> blobs;
  std::vector<Block> copies;
  std::shared_ptr<Blob> blob;
  /// What went wrong, with its code.
  const char* code = nullptr;
  std::string problem;

  /// Runs on any thread, sharing the work with the gang.
  void fill(class Gang& gang);

 private:
  bool fail(const char* errorCode, const std::string& what);
  /// Copies sources to where every element type can be read.
  bool align();
};

Napi::Value constant(const Napi::CallbackInfo& info);
Napi::Value pack(const Napi::CallbackInfo& info);
Napi::Value packSync(const Napi::CallbackInfo& info);
Napi::Value blobBytes(const Napi::CallbackInfo& info);

}  // namespace filigree
