// Plans and their runs as JavaScript sees them. lib/runtime/native.ts documents each function.
#pragma once
#include <napi.h>

namespace filigree {

Napi::Value arenaPool(const Napi::CallbackInfo& info);
Napi::Value abortToken(const Napi::CallbackInfo& info);
Napi::Value abortRuns(const Napi::CallbackInfo& info);
Napi::Value makePlan(const Napi::CallbackInfo& info);
Napi::Value planInfo(const Napi::CallbackInfo& info);
Napi::Value estimatePlan(const Napi::CallbackInfo& info);
Napi::Value run(const Napi::CallbackInfo& info);
Napi::Value runSync(const Napi::CallbackInfo& info);
Napi::Value trim(const Napi::CallbackInfo& info);
Napi::Value release(const Napi::CallbackInfo& info);

}  // namespace filigree
