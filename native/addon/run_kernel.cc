// Runs one kernel of any instruction set on plain buffers: what the kernel tests and benchmarks call.
#include "addon/run_kernel.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "addon/blob.h"
#include "addon/values.h"
#include "engine/kernel_table.h"
#include "engine/pool.h"

namespace filigree {

namespace {

/// Stands for the data of operands that are there but have no bytes.
alignas(64) uint8_t nothing[64];

Operand operandOf(Napi::Env env, const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return {nullptr, 0};
  if (handleOf(env, value)) {
    const std::shared_ptr<Blob> blob = requireBlob(env, value);
    return {blob->data, blob->bytes};
  }
  const View view = requireView(env, value, "an operand");
  return {view.data ? view.data : nothing, view.bytes};
}

void check(Napi::Env env, const char* problem) {
  if (problem) throw Napi::Error::New(env, problem);
}

double timeRuns(const KernelDef& kernel, const Step& step, Range range, int repeats) {
  using Clock = std::chrono::steady_clock;
  double best = 1e300;
  for (int i = 0; i < repeats; i++) {
    Range part = range;
    const auto start = Clock::now();
    kernel.run(step, &part);
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    if (ns < best) best = ns;
  }
  return best;
}

struct Call {
  const KernelDef* kernel;
  KernelLayout layout;
  std::vector<Operand> operands;
  std::vector<int64_t> words;
  Step step;
};

/// Arguments: isa, kernel, operands (typed arrays, packings, null), numbers.
void readCall(const Napi::CallbackInfo& info, Call* call) {
  const Napi::Env env = info.Env();
  const Isa isa = isaNamed(env, info[0].As<Napi::String>());
  const std::string name = info[1].As<Napi::String>();
  call->kernel = findKernel(isa, name.c_str());
  if (!call->kernel) throw Napi::Error::New(env, "no kernel " + name);
  call->layout = layoutOf(*call->kernel);
  const Napi::Array operands = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < operands.Length(); i++) call->operands.push_back(operandOf(env, operands.Get(i)));
  const View numbers = requireNumbers(env, info[3]);
  check(env, encodeWords(call->layout, reinterpret_cast<double*>(numbers.data), numbers.bytes / 8, &call->words));
}

void finishStep(Napi::Env env, Call* call) {
  if (call->operands.size() != call->layout.operands.size()) {
    throw Napi::Error::New(env, "the kernel takes " + std::to_string(call->layout.operands.size()) + " operands");
  }
  call->step = {call->operands.data(), static_cast<int>(call->operands.size()), call->words.data(),
                static_cast<int>(call->words.size())};
}

/// runs the units in `parts` pieces, one after the other, as threads would.
double runParts(Napi::Env env, const Call& call, int parts, int repeats) {
  Work work{0, 0, 0};
  check(env, call.kernel->check(call.step, &work));
  std::unique_ptr<uint8_t, void (*)(void*)> scratch(
      static_cast<uint8_t*>(std::aligned_alloc(64, (work.scratch + 127) / 64 * 64)), std::free);
  double ns = 0;
  for (int part = 0; part < parts; part++) {
    const auto edge = [&](int p) {
      return call.kernel->boundary ? call.kernel->boundary(call.step, p, parts) : work.units * p / parts;
    };
    Range range{edge(part), edge(part + 1), scratch.get(), nullptr};
    if (repeats > 0) {
      ns += timeRuns(*call.kernel, call.step, range, repeats);
    } else if (range.begin < range.end) {
      call.kernel->run(call.step, &range);
      check(env, range.error);
    }
  }
  return ns;
}

}  // namespace

Napi::Value listKernels(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KernelList& list = kernelsOf(isaNamed(env, info[0].As<Napi::String>()));
  Napi::Array out = Napi::Array::New(env, list.count);
  for (int i = 0; i < list.count; i++) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", list.kernels[i]->name);
    row.Set("operands", list.kernels[i]->operands);
    row.Set("params", list.kernels[i]->params);
    row.Set("packer", list.kernels[i]->packedBytes != nullptr);
    out.Set(i, row);
  }
  return out;
}

Napi::Value runKernel(const Napi::CallbackInfo& info) {
  Call call;
  readCall(info, &call);
  finishStep(info.Env(), &call);
  const int parts = info[4].IsNumber() ? info[4].As<Napi::Number>().Int32Value() : 1;
  const int repeats = info[5].IsNumber() ? info[5].As<Napi::Number>().Int32Value() : 0;
  return Napi::Number::New(info.Env(), runParts(info.Env(), call, parts, repeats));
}

Napi::Value runPacker(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Call call;
  readCall(info, &call);
  if (!call.kernel->packedBytes) throw Napi::Error::New(env, "the kernel is not a packer");
  if (call.operands.size() + 1 != call.layout.operands.size()) {
    throw Napi::Error::New(env, "the packer takes " + std::to_string(call.layout.operands.size() - 1) + " sources");
  }
  PackCall pack;
  pack.kernel = call.kernel;
  pack.operands = call.operands;
  pack.words = call.words;
  Gang alone(1, 0);
  pack.fill(alone);
  if (!pack.blob) throw Napi::Error::New(env, pack.problem);
  return wrapBlob(env, std::move(pack.blob));
}

Napi::Value packingBytes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Blob> packing = requireBlob(env, info[0]);
  Napi::Uint8Array out = Napi::Uint8Array::New(env, packing->bytes);
  std::memcpy(out.Data(), packing->data, packing->bytes);
  return out;
}

Napi::Value alignedBuffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const double bytes = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(bytes >= 0 && bytes <= 4294967296.0)) throw Napi::RangeError::New(env, "expected a size of at most 4 GiB");
  const size_t size = static_cast<size_t>(bytes);
  void* data = std::aligned_alloc(64, (size + 127) / 64 * 64);
  if (!data) throw Napi::Error::New(env, "no memory for the buffer");
  std::memset(data, 0, size);
  return Napi::ArrayBuffer::New(env, data, size, [](Napi::Env, void* p) { std::free(p); });
}

}  // namespace filigree
