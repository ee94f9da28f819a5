#include "addon/blob.h"

#include <algorithm>
#include <cstring>

#include "addon/environment.h"
#include "addon/file_map.h"
#include "engine/executor.h"

namespace filigree {

namespace {

constexpr size_t kCopiedBytes = 64 * 1024;
/// Of the widest element type.
constexpr uintptr_t kAlignment = 8;
/// Before a packing's size is known its check sees more room than anything needs.
constexpr size_t kUnbounded = size_t{1} << 62;
uint8_t* const kPresent = reinterpret_cast<uint8_t*>(uintptr_t{64});

}  // namespace

HeldBuffer::HeldBuffer(napi_env env, const View& view) : env_(env), shared_(view.shared) {
  if (napi_create_reference(env, view.buffer, 1, &reference_) != napi_ok) throw Napi::Error::New(env);
  void* data = nullptr;
  size_t length = 0;
  if (!shared_ && napi_get_arraybuffer_info(env, view.buffer, &data, &length) == napi_ok) {
    base_ = static_cast<uint8_t*>(data);
  }
  cover(view);
}

HeldBuffer::~HeldBuffer() {
  if (reference_) napi_delete_reference(env_, reference_);
}

bool HeldBuffer::holds(napi_env env, const View& view) const {
  napi_value buffer = nullptr;
  bool same = false;
  return napi_get_reference_value(env, reference_, &buffer) == napi_ok && buffer &&
         napi_strict_equals(env, buffer, view.buffer, &same) == napi_ok && same;
}

void HeldBuffer::cover(const View& view) {
  if (!shared_) needed_ = std::max(needed_, static_cast<size_t>(view.data - base_) + view.bytes);
}

bool HeldBuffer::intact(napi_env env) const {
  if (shared_) return true;
  napi_value buffer = nullptr;
  void* data = nullptr;
  size_t length = 0;
  return napi_get_reference_value(env, reference_, &buffer) == napi_ok && buffer &&
         napi_get_arraybuffer_info(env, buffer, &data, &length) == napi_ok && data == base_ && length >= needed_;
}

std::shared_ptr<Blob> requireBlob(napi_env env, napi_value value) {
  return std::static_pointer_cast<Blob>(requireHandle(env, value, Handle::kBlob, "a blob"));
}

Napi::Value wrapBlob(Napi::Env env, std::shared_ptr<Blob> blob) {
  const int64_t bytes = static_cast<int64_t>(blob->memory.capacity());
  // Making the External fails where the environment is about to end.
  auto handle = std::make_unique<Handle>(Handle{Handle::kMagic, Handle::kBlob, std::move(blob)});
  const auto external = Napi::External<Handle>::New(env, handle.get(), [bytes](Napi::Env at, Handle* h) {
    delete h;
    int64_t total;
    napi_adjust_external_memory(at, -bytes, &total);
  });
  handle.release();
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
  return external;
}

Napi::Value constant(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const View view = requireView(env, info[0], "a constant");
  auto blob = std::make_shared<Blob>();
  blob->bytes = view.bytes;
  if (view.bytes > kCopiedBytes) {
    blob->data = view.data;
    blob->held = Environment::of(env)->hold(env, view);
  } else {
    blob->memory = Block::allocate(view.bytes);
    blob->data = blob->memory.data();
    if (!blob->data) throwCoded(env, "ERR_MEMORY", "no memory for a constant");
    if (view.bytes > 0) std::memcpy(blob->data, view.data, view.bytes);
  }
  return wrapBlob(env, std::move(blob));
}

bool PackCall::fail(const char* errorCode, const std::string& what) {
  code = errorCode;
  problem = std::string("packer ") + kernel->name + ": " + what;
  return false;
}

bool PackCall::align() {
  for (Operand& operand : operands) {
    if (reinterpret_cast<uintptr_t>(operand.data) % kAlignment == 0) continue;
    Block copy = Block::allocate(operand.bytes);
    if (!copy.data()) return false;
    std::memcpy(copy.data(), operand.data, operand.bytes);
    operand.data = copy.data();
    copies.push_back(std::move(copy));
  }
  return true;
}

void PackCall::fill(Gang& gang) {
  const std::vector<Operand> sources = operands;
  if (!align()) return void(fail("ERR_MEMORY", "no memory for a source"));
  operands.push_back({kPresent, kUnbounded});
  const Step step{operands.data(), static_cast<int>(operands.size()), words.data(), static_cast<int>(words.size())};
  Work work{0, 0, 0};
  if (const char* wrong = kernel->check(step, &work)) return void(fail("ERR_INTERNAL", wrong));
  const size_t bytes = kernel->packedBytes(step);
  auto made = std::make_shared<Blob>();
  if (bytes < kUnbounded) made->memory = kernel->executable ? Block::allocateMapped(bytes) : Block::allocate(bytes);
  if (!made->memory.data()) return void(fail("ERR_MEMORY", "no memory for " + std::to_string(bytes) + " bytes"));
  made->data = made->memory.data();
  made->bytes = bytes;
  operands.back() = {made->data, bytes};
  if (const char* wrong = kernel->check(step, &work)) return void(fail("ERR_INTERNAL", wrong));
  const size_t scratchBytes = roundUp64(work.scratch);
  const int threads = static_cast<int>(std::clamp<int64_t>(work.units, 1, gang.size()));
  Block scratch = Block::allocate(scratchBytes * static_cast<size_t>(threads));
  if (!scratch.data()) return void(fail("ERR_MEMORY", "no memory for scratch"));
  struct Shared {
    const PackCall& call;
    const Step& step;
    int64_t units;
    uint8_t* scratch;
    size_t scratchBytes;
    std::atomic<const char*> error;
  } shared{*this, step, work.units, scratch.data(), scratchBytes, nullptr};
  gang.parallel(
      threads,
      [](void* context, int thread, int count) {
        Shared& s = *static_cast<Shared*>(context);
        Range range{0, 0, s.scratch + s.scratchBytes * static_cast<size_t>(thread), nullptr};
        splitUnits(*s.call.kernel, s.step, s.units, thread, count, &range);
        if (range.begin < range.end) s.call.kernel->run(s.step, &range);
        if (range.error) s.error.store(range.error);
      },
      &shared);
  if (const char* wrong = shared.error.load()) return void(fail("ERR_RUN", wrong));
  if (kernel->executable && !made->memory.sealExecutable()) {
    return void(fail("ERR_UNSUPPORTED", "this system forbids executable memory"));
  }
  made->code = kernel->executable;
  blob = std::move(made);
  // The packing stands for its sources from now on.
  for (const Operand& source : sources) dropMappedPages(source.data, source.bytes);
}

namespace {

class PackTask : public Task {
 public:
  explicit PackTask(Napi::Env env) : Task(env) {}
  void execute(Gang& gang) override { call.fill(gang); }
  void cancel() override {}

  PackCall call;

 protected:
  Napi::Value result(Napi::Env env) override {
    if (!call.blob) throwCoded(env, call.code ? call.code : "ERR_ABORTED", call.problem);
    return wrapBlob(env, std::move(call.blob));
  }
};

/// Operand of a source; small typed arrays are copied where `copy`, large ones kept by `task`.
Operand sourceOf(Napi::Env env, const Napi::Value& value, Task* task, PackCall* call) {
  if (value.IsNull() || value.IsUndefined()) return {nullptr, 0};
  if (handleOf(env, value)) {
    const auto blob = requireBlob(env, value);
    if (blob->held && !blob->held->intact(env))
      throwCoded(env, "ERR_INPUT", "a constant's ArrayBuffer was transferred");
    call->blobs.push_back(blob);
    return {blob->data, blob->bytes};
  }
  const View view = requireView(env, value, "a source of a packing");
  if (!task || view.bytes > kCopiedBytes) {
    if (task) task->keep(view.buffer);
    return {view.data ? view.data : kPresent, view.bytes};
  }
  Block copy = Block::allocate(view.bytes);
  if (!copy.data()) throwCoded(env, "ERR_MEMORY", "no memory for a packing");
  if (view.bytes > 0) std::memcpy(copy.data(), view.data, view.bytes);
  const Operand operand{copy.data(), view.bytes};
  call->copies.push_back(std::move(copy));
  return operand;
}

/// Arguments: isa, kernel number, sources, numbers.
void readPackCall(const Napi::CallbackInfo& info, Task* task, PackCall* call) {
  const Napi::Env env = info.Env();
  const KernelList& list = kernelsOf(isaNamed(env, info[0].ToString()));
  const double id = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
  if (!(id >= 0 && id < list.count)) throwCoded(env, "ERR_INTERNAL", "no such kernel");
  call->kernel = list.kernels[static_cast<int>(id)];
  const std::string name = call->kernel->name;
  if (!call->kernel->packedBytes) throwCoded(env, "ERR_INTERNAL", name + " is not a packer");
  if (call->kernel->executable && !executableMemoryAllowed()) {
    throwCoded(env, "ERR_UNSUPPORTED", "packer " + name + ": executable memory is not allowed");
  }
  const KernelLayout layout = layoutOf(*call->kernel);
  if (!info[2].IsArray() || info[2].As<Napi::Array>().Length() + 1 != layout.operands.size()) {
    throwCoded(env, "ERR_INTERNAL",
               "packer " + name + " takes " + std::to_string(layout.operands.size() - 1) + " sources");
  }
  const Napi::Array sources = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < sources.Length(); i++) {
    call->operands.push_back(sourceOf(env, sources.Get(i), task, call));
    if (!call->operands.back().data && !layout.operands[i].optional) {
      throwCoded(env, "ERR_INTERNAL", "packer " + name + ": source " + layout.operands[i].name + " is missing");
    }
  }
  const View numbers = requireNumbers(env, info[3]);
  const char* wrong =
      encodeWords(layout, reinterpret_cast<const double*>(numbers.data), numbers.bytes / 8, &call->words);
  if (wrong) throwCoded(env, "ERR_INTERNAL", "packer " + name + ": " + wrong);
}

}  // namespace

Napi::Value pack(const Napi::CallbackInfo& info) {
  auto task = std::make_unique<PackTask>(info.Env());
  readPackCall(info, task.get(), &task->call);
  task->threads = Pool::instance().threads();
  return Environment::of(info.Env())->start(info.Env(), std::move(task));
}

Napi::Value packSync(const Napi::CallbackInfo& info) {
  PackCall call;
  readPackCall(info, nullptr, &call);
  Pool& pool = Pool::instance();
  pool.lead(
      pool.threads(), [](void* at, Gang& gang) { static_cast<PackCall*>(at)->fill(gang); }, &call);
  if (!call.blob) throwCoded(info.Env(), call.code, call.problem);
  return wrapBlob(info.Env(), std::move(call.blob));
}

Napi::Value blobBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(requireBlob(info.Env(), info[0])->bytes));
}

}  // namespace filigree
