#include "addon/values.h"

#include <cmath>
#include <cstdlib>

namespace filigree {

namespace {

/// Bytes of an element; Float16Array (11) is newer than the headers.
size_t elementBytes(int type) {
  static const uint8_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};
  return type >= 0 && type < static_cast<int>(sizeof sizes) ? sizes[type] : 0;
}

}  // namespace

void throwCoded(napi_env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

bool readView(napi_env env, napi_value value, View* view) {
  bool typed = false, plain = false;
  if (napi_is_typedarray(env, value, &typed) != napi_ok || !typed) return false;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, &view->buffer, nullptr) != napi_ok) return false;
  const size_t size = elementBytes(static_cast<int>(type));
  if (size == 0) return false;
  napi_is_arraybuffer(env, view->buffer, &plain);
  view->data = static_cast<uint8_t*>(data);
  view->bytes = length * size;
  view->shared = !plain;
  return true;
}

View requireView(napi_env env, napi_value value, const std::string& what) {
  View view;
  if (!readView(env, value, &view)) throwCoded(env, "ERR_INPUT", what + " is no typed array");
  return view;
}

View requireNumbers(napi_env env, napi_value value) {
  View view;
  napi_typedarray_type type = napi_int8_array;
  if (readView(env, value, &view)) napi_get_typedarray_info(env, value, &type, nullptr, nullptr, nullptr, nullptr);
  if (type != napi_float64_array) throwCoded(env, "ERR_INTERNAL", "numbers must be a Float64Array");
  return view;
}

Napi::Value option(const Napi::Value& options, const char* name) {
  if (options.IsUndefined() || options.IsNull()) return options.Env().Undefined();
  if (!options.IsObject()) throwCoded(options.Env(), "ERR_OPTION", "options must be an object");
  return options.As<Napi::Object>().Get(name);
}

int64_t integerOption(const Napi::Value& options, const char* name, int64_t fallback, int64_t low, int64_t high) {
  const Napi::Value value = option(options, name);
  if (value.IsUndefined()) return fallback;
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || number != std::floor(number)) {
    throwCoded(
        value.Env(), "ERR_OPTION",
        std::string(name) + " must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return static_cast<int64_t>(number);
}

Isa isaNamed(Napi::Env env, const std::string& name) {
  for (int i = 0; i < kIsaCount; i++) {
    const Isa isa = static_cast<Isa>(i);
    if (name == isaName(isa) && supports(isa)) return isa;
  }
  std::string known = isaName(Isa::kPortable);
  for (int i = 1; i <= static_cast<int>(detectIsa()); i++) known += std::string(", ") + isaName(static_cast<Isa>(i));
  throwCoded(env, "ERR_OPTION", "instruction set \"" + name + "\" is not available; this CPU has " + known);
}

Isa chosenIsa(Napi::Env env) {
  const char* wish = std::getenv("FILIGREE_ISA");
  return wish && *wish ? isaNamed(env, wish) : detectIsa();
}

Napi::Value wrapHandle(Napi::Env env, Handle::Kind kind, std::shared_ptr<void> object) {
  // Making the External fails where the environment is about to end.
  auto handle = std::make_unique<Handle>(Handle{Handle::kMagic, kind, std::move(object)});
  const auto external = Napi::External<Handle>::New(env, handle.get(), [](Napi::Env, Handle* h) { delete h; });
  handle.release();
  return external;
}

Handle* handleOf(napi_env env, napi_value value) {
  napi_valuetype type;
  void* data = nullptr;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external) return nullptr;
  if (napi_get_value_external(env, value, &data) != napi_ok || !data) return nullptr;
  Handle* handle = static_cast<Handle*>(data);
  return handle->magic == Handle::kMagic ? handle : nullptr;
}

std::shared_ptr<void> requireHandle(napi_env env, napi_value value, Handle::Kind kind, const char* what) {
  const Handle* handle = handleOf(env, value);
  if (!handle || handle->kind != kind) throwCoded(env, "ERR_INTERNAL", std::string("expected ") + what);
  if (!handle->object) throwCoded(env, "ERR_INTERNAL", std::string(what) + " was released");
  return handle->object;
}

}  // namespace filigree
