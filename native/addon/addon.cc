// N-API glue: checks, converts, throws. No arithmetic here.
#include <napi.h>

#include "addon/file_map.h"
#include "addon/run_kernel.h"
#include "cpu/cpu.h"

namespace {

Napi::Value hardware(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const filigree::CacheSizes caches = filigree::cacheSizes();
  Napi::Object out = Napi::Object::New(env);
  out.Set("isa", filigree::isaName(filigree::detectIsa()));
  out.Set("brand", filigree::cpuBrand());
  out.Set("cores", filigree::usableCores());
  out.Set("l1d", static_cast<double>(caches.l1d));
  out.Set("l2", static_cast<double>(caches.l2));
  out.Set("l3", static_cast<double>(caches.l3));
  return out;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("hardware", Napi::Function::New(env, hardware, "hardware"));
  exports.Set("kernels", Napi::Function::New(env, filigree::listKernels, "kernels"));
  exports.Set("mapFile", Napi::Function::New(env, filigree::mapFile, "mapFile"));
  exports.Set("runKernel", Napi::Function::New(env, filigree::runKernel, "runKernel"));
  exports.Set("runPacker", Napi::Function::New(env, filigree::runPacker, "runPacker"));
  exports.Set("packingBytes", Napi::Function::New(env, filigree::packingBytes, "packingBytes"));
  exports.Set("alignedBuffer", Napi::Function::New(env, filigree::alignedBuffer, "alignedBuffer"));
  return exports;
}

}  // namespace

NODE_API_MODULE(filigree, init)
