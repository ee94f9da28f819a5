#include "addon/run.h"

#include <algorithm>
#include <cstring>

#include "addon/environment.h"
#include "addon/plan_handle.h"
#include "engine/executor.h"

namespace filigree {

namespace {

/// Asynchronous runs copy inputs and outputs up to this size: their buffers may be transferred while the run lasts.
constexpr size_t kCopiedBytes = size_t{16} << 20;
/// Larger results get memory of their own instead of a copy.
constexpr size_t kSmallResult = 64 * 1024;

/// Where an output is written and how it gets back.
struct Output {
  enum Place { kInPlace, kStaged };
  Place place = kInPlace;
  /// The caller passed null: an ArrayBuffer is made.
  bool made = false;
  size_t bytes = 0;
  uint8_t* data = nullptr;
  napi_value value = nullptr;
};

/// A run with all its memory, from the arguments to the outcome.
struct RunCall {
  std::shared_ptr<PlanHandle> handle;
  std::shared_ptr<AbortToken> token;
  std::vector<uint8_t*> bases;
  std::vector<Output> outputs;
  std::vector<double> profile;
  Napi::Value profileArray;
  Block staging;
  int threads = 1;
  int priority = 0;
  bool exhausted = false;
  bool begun = false;
  RunOutcome outcome;

  void execute(Gang& gang, const std::atomic<bool>* abort) {
    const Plan& plan = *handle->plan;
    Block work = handle->arenas->take(plan.runBytes(threads));
    begun = true;
    if (!work.data()) {
      exhausted = true;
      return;
    }
    RunMemory memory;
    memory.bases = bases.data();
    memory.work = work.data();
    memory.threads = threads;
    memory.profile = profile.empty() ? nullptr : profile.data();
    memory.abort = abort;
    outcome = runPlan(plan, memory, gang);
    handle->arenas->give(std::move(work));
  }

  void check(napi_env env) const {
    const Plan& plan = *handle->plan;
    if (exhausted) {
      throwCoded(env, "ERR_MEMORY", "no memory for " + std::to_string(plan.runBytes(threads)) + " bytes of a run");
    }
    if (!begun || outcome.status == RunOutcome::kAborted) throwCoded(env, "ERR_ABORTED", "the run was aborted");
    if (outcome.status == RunOutcome::kFailed) throwCoded(env, "ERR_RUN", describeFailure(plan, outcome));
  }
};

/// Arguments: plan, inputs, outputs, options.
class CallReader {
 public:
  /// `task` is null for runs that are over when the call returns: nothing has to be copied.
  CallReader(const Napi::CallbackInfo& info, Task* task, RunCall* call) : env_(info.Env()), task_(task), call_(call) {
    call->handle = requirePlan(env_, info[0]);
    const Plan& plan = *call->handle->plan;
    for (const auto& held : call->handle->held) {
      if (!held->intact(env_)) {
        throwCoded(env_, "ERR_INPUT", "an ArrayBuffer that holds constants was transferred or resized");
      }
    }
    readOptions(info[3]);
    call->bases.reserve(plan.baseCount());
    call->bases.push_back(nullptr);
    readInputs(info[1], plan.inputBytes);
    readOutputs(info[2], plan.outputBytes);
    for (const ConstantBytes& constant : plan.constants) call->bases.push_back(constant.data);
    stage();
  }

 private:
  void readOptions(const Napi::Value& options) {
    const int most = Pool::instance().threads();
    const Plan& plan = *call_->handle->plan;
    call_->threads = std::min<int>(plan.threads, most);
    if (options.IsUndefined()) return;
    const int64_t wanted = integerOption(options, "threads", most, 1, 1 << 20);
    call_->threads = static_cast<int>(std::min<int64_t>(call_->threads, wanted));
    call_->priority = static_cast<int>(integerOption(options, "priority", 0, -1000000, 1000000));
    owned_ = option(options, "owned");
    const Napi::Value token = option(options, "token");
    if (!token.IsUndefined()) {
      call_->token =
          std::static_pointer_cast<AbortToken>(requireHandle(env_, token, Handle::kAbortToken, "an abort token"));
    }
    const Napi::Value profile = option(options, "profile");
    if (profile.IsUndefined()) return;
    call_->profileArray = profile;
    call_->profile.resize(2 * plan.instructions.size());
    if (requireNumbers(env_, profile).bytes / 8 < call_->profile.size()) {
      throwCoded(env_, "ERR_INTERNAL", "the profile needs two numbers an instruction");
    }
  }

  Napi::Array arrayOf(const Napi::Value& value, const char* what, size_t count) const {
    if (!value.IsArray() || value.As<Napi::Array>().Length() != count) {
      throwCoded(env_, "ERR_INPUT", "the plan takes " + std::to_string(count) + " " + what);
    }
    return value.As<Napi::Array>();
  }

  View viewOf(napi_value value, const char* what, size_t index, size_t bytes) const {
    View view;
    if (!readView(env_, value, &view) || view.bytes != bytes) {
      const std::string name = std::string(what) + " " + std::to_string(index);
      requireView(env_, value, name);
      throwCoded(env_, "ERR_INPUT",
                 name + " has " + std::to_string(view.bytes) + " bytes, expected " + std::to_string(bytes));
    }
    return view;
  }

  bool isOwned(uint32_t i) const { return owned_.IsArray() && owned_.As<Napi::Array>().Get(i).ToBoolean(); }

  void readInputs(const Napi::Value& value, const std::vector<size_t>& sizes) {
    const Napi::Array inputs = arrayOf(value, "inputs", sizes.size());
    for (size_t i = 0; i < sizes.size(); i++) {
      const napi_value item = inputs.Get(static_cast<uint32_t>(i));
      const View view = viewOf(item, "input", i, sizes[i]);
      call_->bases.push_back(view.data);
      if (!task_) continue;
      if (view.shared || view.bytes > kCopiedBytes || isOwned(static_cast<uint32_t>(i))) {
        task_->keep(view.buffer);
      } else {
        copies_.push_back({call_->bases.size() - 1, stagedBytes_});
        stagedBytes_ += roundUp64(view.bytes);
      }
    }
  }

  void readOutputs(const Napi::Value& value, const std::vector<size_t>& sizes) {
    const Napi::Array outputs = arrayOf(value, "outputs", sizes.size());
    call_->outputs.resize(sizes.size());
    for (size_t i = 0; i < sizes.size(); i++) {
      Output& output = call_->outputs[i];
      output.bytes = sizes[i];
      const Napi::Value item = outputs.Get(static_cast<uint32_t>(i));
      output.made = item.IsNull() || item.IsUndefined();
      if (output.made) {
        make(&output);
      } else {
        const View view = viewOf(item, "output", i, output.bytes);
        output.value = item;
        output.data = view.data;
        if (task_ && !view.shared && output.bytes <= kCopiedBytes) output.place = Output::kStaged;
      }
      call_->bases.push_back(output.data);
    }
  }

  void make(Output* output) {
    if (!task_ || output->bytes > kSmallResult) {
      // Not memory of the engine: that could not be transferred, and would be given back by the event loop, which a
      // loop of synchronous runs never reaches.
      makeBuffer(output);
    } else {
      output->place = Output::kStaged;
    }
  }

  /// An ArrayBuffer of JavaScript's own. Made by a constructor, which throws where N-API would end the process; that of
  /// a view, since a buffer may be larger than any view of it.
  void makeBuffer(Output* output) const {
    const Napi::Env env(env_);
    View view;
    try {
      const Napi::Number bytes = Napi::Number::New(env, static_cast<double>(output->bytes));
      const Napi::Object made = env.Global().Get("Uint8Array").As<Napi::Function>().New({bytes});
      if (!readView(env_, made, &view)) view = View();
    } catch (const Napi::Error&) {
      throwCoded(
          env_, "ERR_MEMORY",
          "an output of " + std::to_string(output->bytes) + " bytes is more than a buffer can hold or memory has");
    }
    if (view.bytes != output->bytes) throwCoded(env_, "ERR_INTERNAL", "the global Uint8Array is not JavaScript's own");
    output->value = view.buffer;
    output->data = view.data;
  }

  /// Moves what must not stay in JavaScript's memory into one block.
  void stage() {
    const size_t inputs = stagedBytes_;
    for (const Output& output : call_->outputs) {
      if (output.place == Output::kStaged) stagedBytes_ += roundUp64(output.bytes);
    }
    if (stagedBytes_ == 0) return;
    call_->staging = stagingPool().take(stagedBytes_, 4);
    uint8_t* at = call_->staging.data();
    if (!at) throwCoded(env_, "ERR_MEMORY", "no memory for " + std::to_string(stagedBytes_) + " bytes of a run");
    const std::vector<size_t>& sizes = call_->handle->plan->inputBytes;
    for (const Copy& copy : copies_) {
      uint8_t*& base = call_->bases[copy.base];
      if (sizes[copy.base - 1] > 0) std::memcpy(at + copy.offset, base, sizes[copy.base - 1]);
      base = at + copy.offset;
    }
    at += inputs;
    for (size_t i = 0; i < call_->outputs.size(); i++) {
      Output& output = call_->outputs[i];
      if (output.place != Output::kStaged) continue;
      output.data = at;
      call_->bases[1 + sizes.size() + i] = at;
      at += roundUp64(output.bytes);
    }
  }

  struct Copy {
    size_t base, offset;
  };

  napi_env env_;
  Task* task_;
  RunCall* call_;
  std::vector<Copy> copies_;
  size_t stagedBytes_ = 0;
  Napi::Value owned_;
};

/// The value of a made output.
napi_value madeOutput(Napi::Env env, const Output& output) {
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, output.bytes, &data, &buffer) != napi_ok) throw Napi::Error::New(env);
  if (output.bytes > 0) std::memcpy(data, output.data, output.bytes);
  return buffer;
}

void copyProfile(Napi::Env env, const std::vector<double>& profile, napi_value array) {
  View view;
  if (readView(env, array, &view) && view.bytes >= profile.size() * 8) {
    std::memcpy(view.data, profile.data(), profile.size() * 8);
  }
}

class RunTask : public Task {
 public:
  explicit RunTask(Napi::Env env) : Task(env) {}

  ~RunTask() override {
    stagingPool().give(std::move(call.staging));
    for (napi_ref reference : results) napi_delete_reference(env, reference);
  }

  void execute(Gang& gang) override { call.execute(gang, token ? &token->set : &cancelled); }

  void cancel() override {
    cancelled.store(true);
    if (token) token->set.store(true);
  }

  /// Keeps the caller's outputs and profile.
  void keepResults(napi_env at) {
    env = at;
    for (const Output& output : call.outputs) results.push_back(output.value ? referTo(output.value) : nullptr);
    results.push_back(call.profile.empty() ? nullptr : referTo(call.profileArray));
  }

  RunCall call;

 protected:
  Napi::Value result(Napi::Env at) override {
    call.check(at);
    Napi::Array out = Napi::Array::New(at, call.outputs.size());
    for (size_t i = 0; i < call.outputs.size(); i++) {
      Output& output = call.outputs[i];
      const napi_value value = results[i] ? valueOf(at, results[i]) : madeOutput(at, output);
      if (!output.made && output.place == Output::kStaged) copyBack(at, value, output, i);
      out.Set(static_cast<uint32_t>(i), value);
    }
    if (results.back()) copyProfile(at, call.profile, valueOf(at, results.back()));
    return out;
  }

 private:
  napi_ref referTo(napi_value value) const {
    napi_ref reference = nullptr;
    if (napi_create_reference(env, value, 1, &reference) != napi_ok) throw Napi::Error::New(env);
    return reference;
  }

  static napi_value valueOf(napi_env at, napi_ref reference) {
    napi_value value = nullptr;
    napi_get_reference_value(at, reference, &value);
    return value;
  }

  static void copyBack(napi_env at, napi_value value, const Output& output, size_t index) {
    View view;
    if (!readView(at, value, &view) || view.bytes != output.bytes) {
      throwCoded(at, "ERR_INPUT", "output " + std::to_string(index) + " was transferred or resized during the run");
    }
    if (output.bytes > 0) std::memcpy(view.data, output.data, output.bytes);
  }

  std::atomic<bool> cancelled{false};
  napi_env env = nullptr;
  /// The caller's outputs (null for made ones), then the profile.
  std::vector<napi_ref> results;
};

}  // namespace

Napi::Value run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto task = std::make_unique<RunTask>(env);
  CallReader(info, task.get(), &task->call);
  task->keepResults(env);
  task->threads = task->call.threads;
  task->priority = task->call.priority;
  task->token = task->call.token;
  return Environment::of(env)->start(env, std::move(task));
}

Napi::Value runSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  RunCall call;
  CallReader(info, nullptr, &call);
  Pool::instance().lead(
      call.threads,
      [](void* at, Gang& gang) {
        RunCall* c = static_cast<RunCall*>(at);
        c->execute(gang, c->token ? &c->token->set : nullptr);
      },
      &call);
  if (!call.profile.empty()) copyProfile(env, call.profile, call.profileArray);
  call.check(env);
  Napi::Array out = Napi::Array::New(env, call.outputs.size());
  for (size_t i = 0; i < call.outputs.size(); i++) {
    out.Set(static_cast<uint32_t>(i), call.outputs[i].value);
  }
  return out;
}

}  // namespace filigree
