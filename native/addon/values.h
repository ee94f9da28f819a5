// Reading of arguments and the handles that JavaScript holds.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <system_error>

#include "cpu/cpu.h"

namespace filigree {

/// Throws an Error with `code`, one of lib/errors.ts.
[[noreturn]] void throwCoded(napi_env env, const char* code, const std::string& message);

/// A typed array's bytes. `data` may be null where there are none.
struct View {
  uint8_t* data = nullptr;
  size_t bytes = 0;
  napi_value buffer = nullptr;
  /// A SharedArrayBuffer can neither be transferred nor shrink.
  bool shared = false;
};

/// False where the value is no typed array.
bool readView(napi_env env, napi_value value, View* view);
/// Throws ERR_INPUT, naming `what`, where the value is no typed array.
View requireView(napi_env env, napi_value value, const std::string& what);
/// A Float64Array's numbers.
View requireNumbers(napi_env env, napi_value value);

/// Property `name` of options, or an undefined value where there are no options.
Napi::Value option(const Napi::Value& options, const char* name);
/// A whole number from low to high, or `fallback` where the value is undefined.
int64_t integerOption(const Napi::Value& options, const char* name, int64_t fallback, int64_t low, int64_t high);

/// The instruction set called `name`; throws where there is none, or the CPU lacks it.
Isa isaNamed(Napi::Env env, const std::string& name);
/// FILIGREE_ISA or the best one.
Isa chosenIsa(Napi::Env env);

/// What an External of the addon points to.
struct Handle {
  enum Kind : uint32_t { kBlob = 1, kPlan, kArenaPool, kAbortToken };
  static constexpr uint64_t kMagic = 0x6572676967696C66;
  uint64_t magic = kMagic;
  Kind kind;
  std::shared_ptr<void> object;
};

Napi::Value wrapHandle(Napi::Env env, Handle::Kind kind, std::shared_ptr<void> object);
/// The handle in a value, or null where it holds none.
Handle* handleOf(napi_env env, napi_value value);
/// The object of a handle of `kind`; throws ERR_INTERNAL where the value is something else or was released.
std::shared_ptr<void> requireHandle(napi_env env, napi_value value, Handle::Kind kind, const char* what);

/// Turns whatever a callback throws into a JavaScript error.
template <Napi::Value (*callback)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return callback(info);
  } catch (const std::bad_alloc&) {
    throwCoded(info.Env(), "ERR_MEMORY", "out of memory");
  } catch (const std::system_error& error) {
    throwCoded(info.Env(), "ERR_INTERNAL", error.what());
  }
}

}  // namespace filigree
