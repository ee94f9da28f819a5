// Runs one kernel of any instruction set on plain buffers: what the kernel tests and benchmarks call.
#include "addon/run_kernel.h"

#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/kernel_table.h"

namespace filigree {

namespace {

Operand operandOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) return {nullptr, 0};
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type;
  napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr);
  return {static_cast<uint8_t*>(data), value.As<Napi::TypedArray>().ByteLength()};
}

Isa isaNamed(Napi::Env env, const std::string& name) {
  for (int i = 0; i < kIsaCount; i++) {
    if (name != isaName(static_cast<Isa>(i))) continue;
    if (i > static_cast<int>(detectIsa())) throw Napi::Error::New(env, "this CPU does not have " + name);
    return static_cast<Isa>(i);
  }
  throw Napi::Error::New(env, "no instruction set " + name);
}

/// Memory for a packing, executable once sealed where the kernel asks for that.
struct PackedMemory {
  uint8_t* data = nullptr;
  size_t mapped = 0;
  explicit PackedMemory(size_t bytes) : mapped((bytes + 4096 + 4095) / 4096 * 4096) {
    void* at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data = at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
  }
  bool seal() { return mprotect(data, mapped, PROT_READ | PROT_EXEC) == 0; }
  ~PackedMemory() {
    if (data) munmap(data, mapped);
  }
};

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
  for (uint32_t i = 0; i < operands.Length(); i++) {
    const Napi::Value value = operands.Get(i);
    if (value.IsExternal()) {
      PackedMemory* memory = value.As<Napi::External<PackedMemory>>().Data();
      call->operands.push_back({memory->data, memory->mapped});
    } else {
      call->operands.push_back(operandOf(value));
    }
  }
  const Operand numbers = operandOf(info[3]);
  check(env, encodeWords(call->layout, reinterpret_cast<double*>(numbers.data), numbers.bytes / 8, &call->words));
}

void finishStep(Napi::Env env, Call* call) {
  if (call->operands.size() != call->layout.operands.size()) {
    throw Napi::Error::New(env, "the kernel takes " + std::to_string(call->layout.operands.size()) + " operands");
  }
  for (size_t i = 0; i < call->operands.size(); i++) {
    if (!call->operands[i].data && call->operands[i].bytes == 0) continue;
    if (!call->operands[i].data) call->operands[i].data = reinterpret_cast<uint8_t*>(64);
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
  call.operands.push_back({nullptr, 0});
  finishStep(env, &call);
  const size_t bytes = call.kernel->packedBytes(call.step);
  auto memory = std::make_unique<PackedMemory>(bytes);
  if (!memory->data) throw Napi::Error::New(env, "no memory for the packing");
  call.operands.back() = {memory->data, bytes};
  runParts(env, call, 1, 0);
  if (call.kernel->executable && !memory->seal()) throw Napi::Error::New(env, "executable memory is forbidden");
  return Napi::External<PackedMemory>::New(env, memory.release(), [](Napi::Env, PackedMemory* m) { delete m; });
}

Napi::Value packingBytes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsExternal()) throw Napi::TypeError::New(env, "expected a packing");
  const PackedMemory* memory = info[0].As<Napi::External<PackedMemory>>().Data();
  Napi::Uint8Array out = Napi::Uint8Array::New(env, memory->mapped);
  std::memcpy(out.Data(), memory->data, memory->mapped);
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
