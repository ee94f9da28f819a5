#include "engine/plan.h"

#include <algorithm>

#include "addon/environment.h"
#include "addon/plan_handle.h"
#include "addon/run.h"

namespace filigree {

std::shared_ptr<PlanHandle> requirePlan(napi_env env, napi_value value) {
  return std::static_pointer_cast<PlanHandle>(requireHandle(env, value, Handle::kPlan, "a plan"));
}

Napi::Value arenaPool(const Napi::CallbackInfo& info) {
  return wrapHandle(info.Env(), Handle::kArenaPool, std::make_shared<BlockPool>());
}

Napi::Value abortToken(const Napi::CallbackInfo& info) {
  return wrapHandle(info.Env(), Handle::kAbortToken, std::make_shared<AbortToken>());
}

Napi::Value abortRuns(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto token =
      std::static_pointer_cast<AbortToken>(requireHandle(env, info[0], Handle::kAbortToken, "an abort token"));
  token->set.store(true);
  Environment::of(env)->withdrawQueued(token.get());
  return env.Undefined();
}

Napi::Value makePlan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Isa isa = isaNamed(env, info[0].ToString());
  const View numbers = requireNumbers(env, info[1]);
  if (!info[2].IsArray()) throwCoded(env, "ERR_INTERNAL", "constants must be an array");
  auto handle = std::make_shared<PlanHandle>();
  std::vector<ConstantBytes> constants;
  const Napi::Array blobs = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < blobs.Length(); i++) {
    const std::shared_ptr<Blob> blob = requireBlob(env, blobs.Get(i));
    handle->blobs.push_back(blob);
    constants.push_back({blob->data, blob->bytes});
    const bool known = std::find(handle->held.begin(), handle->held.end(), blob->held) != handle->held.end();
    if (blob->held && !known) handle->held.push_back(blob->held);
  }
  const Napi::Value pool = option(info[3], "arenaPool");
  handle->arenas =
      pool.IsUndefined()
          ? std::make_shared<BlockPool>()
          : std::static_pointer_cast<BlockPool>(requireHandle(env, pool, Handle::kArenaPool, "an arena pool"));
  const int64_t most = int64_t{1} << 53;
  const int64_t physical = static_cast<int64_t>(std::min<uint64_t>(physicalMemory(), static_cast<uint64_t>(most)));
  const int64_t limit = integerOption(info[3], "maxArenaBytes", physical, 0, most);
  std::string problem;
  handle->plan = decodePlan(isa, reinterpret_cast<const double*>(numbers.data), numbers.bytes / 8, std::move(constants),
                            static_cast<size_t>(limit), &problem);
  if (!handle->plan) throwCoded(env, "ERR_INTERNAL", problem);
  return wrapHandle(env, Handle::kPlan, std::move(handle));
}

namespace {

struct OperandBytes {
  double constants = 0, data = 0;
};

/// Sizes of an instruction's operands, each buffer once.
OperandBytes operandBytes(const Plan& plan, const Instruction& instruction) {
  OperandBytes sum;
  const int32_t* numbers = plan.operands.data() + instruction.firstOperand;
  const size_t variable = plan.baseCount() - plan.constants.size();
  for (int i = 0; i < instruction.operandCount; i++) {
    if (numbers[i] < 0 || std::find(numbers, numbers + i, numbers[i]) != numbers + i) continue;
    const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(numbers[i])];
    const bool constant = static_cast<size_t>(buffer.base) >= variable;
    (constant ? sum.constants : sum.data) += static_cast<double>(buffer.bytes);
  }
  return sum;
}

/// What a plan takes, by instruction where it says so.
Napi::Object describePlan(Napi::Env env, const Plan& plan) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("arenaBytes", static_cast<double>(plan.arenaBytes));
  out.Set("scratchBytes", static_cast<double>(plan.scratchBytes));
  out.Set("threadArenaBytes", static_cast<double>(plan.privateBytes()));
  out.Set("steps", plan.steps);
  out.Set("threads", plan.threads);
  Napi::Float64Array costs = Napi::Float64Array::New(env, plan.instructions.size());
  Napi::Float64Array units = Napi::Float64Array::New(env, plan.instructions.size());
  Napi::Float64Array constantBytes = Napi::Float64Array::New(env, plan.instructions.size());
  Napi::Float64Array dataBytes = Napi::Float64Array::New(env, plan.instructions.size());
  for (size_t i = 0; i < plan.instructions.size(); i++) {
    costs[i] = plan.instructions[i].work.cost;
    units[i] = static_cast<double>(plan.instructions[i].work.units);
    const OperandBytes bytes = operandBytes(plan, plan.instructions[i]);
    constantBytes[i] = bytes.constants;
    dataBytes[i] = bytes.data;
  }
  out.Set("costs", costs);
  out.Set("units", units);
  out.Set("constantBytes", constantBytes);
  out.Set("dataBytes", dataBytes);
  return out;
}

}  // namespace

Napi::Value planInfo(const Napi::CallbackInfo& info) {
  return describePlan(info.Env(), *requirePlan(info.Env(), info[0])->plan);
}

Napi::Value estimatePlan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Isa isa = isaNamed(env, info[0].ToString());
  const View numbers = requireNumbers(env, info[1]);
  // Checks look at the sizes of constants alone.
  uint8_t* const present = reinterpret_cast<uint8_t*>(uintptr_t{64});
  const std::vector<ConstantBytes> constants(info[2].ToNumber().Uint32Value(), {present, size_t{1} << 62});
  std::string problem;
  const auto plan =
      decodePlan(isa, reinterpret_cast<const double*>(numbers.data), numbers.bytes / 8, constants, SIZE_MAX, &problem);
  if (!plan) throwCoded(env, "ERR_INTERNAL", problem);
  return describePlan(env, *plan);
}

Napi::Value trim(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Handle* handle = handleOf(env, info[0]);
  if (handle && handle->kind == Handle::kArenaPool) {
    std::static_pointer_cast<BlockPool>(requireHandle(env, info[0], Handle::kArenaPool, "an arena pool"))->trim();
  } else {
    requirePlan(env, info[0])->arenas->trim();
  }
  stagingPool().trim();
  return env.Undefined();
}

Napi::Value release(const Napi::CallbackInfo& info) {
  Handle* handle = handleOf(info.Env(), info[0]);
  if (!handle) throwCoded(info.Env(), "ERR_INTERNAL", "expected a blob, plan, arena pool or abort token");
  handle->object.reset();
  return info.Env().Undefined();
}

}  // namespace filigree
