// N-API glue: checks, converts, throws. No arithmetic here.
#include <napi.h>

#include "addon/blob.h"
#include "addon/environment.h"
#include "addon/file_map.h"
#include "addon/run.h"
#include "addon/run_kernel.h"
#include "addon/stored_blob.h"
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
  out.Set("jit", filigree::executableMemoryAllowed());
  out.Set("fastBf16Vectors", filigree::hasFastBf16Vectors());
  return out;
}

Napi::Value isa(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), filigree::isaName(filigree::chosenIsa(info.Env())));
}

template <Napi::Value (*callback)(const Napi::CallbackInfo&)>
void add(Napi::Object* exports, const char* name) {
  exports->Set(name, Napi::Function::New<filigree::guarded<callback>>(exports->Env(), name));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  filigree::Environment::install(env);
  add<hardware>(&exports, "hardware");
  add<isa>(&exports, "isa");
  add<filigree::listKernels>(&exports, "kernels");
  add<filigree::constant>(&exports, "constant");
  add<filigree::pack>(&exports, "pack");
  add<filigree::packSync>(&exports, "packSync");
  add<filigree::blobBytes>(&exports, "blobBytes");
  add<filigree::arenaPool>(&exports, "arenaPool");
  add<filigree::abortToken>(&exports, "abortToken");
  add<filigree::abortRuns>(&exports, "abort");
  add<filigree::makePlan>(&exports, "plan");
  add<filigree::planInfo>(&exports, "planInfo");
  add<filigree::estimatePlan>(&exports, "estimatePlan");
  add<filigree::run>(&exports, "run");
  add<filigree::runSync>(&exports, "runSync");
  add<filigree::trim>(&exports, "trim");
  add<filigree::release>(&exports, "release");
  add<filigree::runKernel>(&exports, "runKernel");
  add<filigree::runPacker>(&exports, "runPacker");
  add<filigree::packingBytes>(&exports, "packingBytes");
  add<filigree::alignedBuffer>(&exports, "alignedBuffer");
  add<filigree::mapFile>(&exports, "mapFile");
  add<filigree::dropFilePages>(&exports, "dropFilePages");
  add<filigree::blobFacts>(&exports, "blobFacts");
  add<filigree::storedBlob>(&exports, "storedBlob");
  return exports;
}

}  // namespace

NODE_API_MODULE(filigree, init)
