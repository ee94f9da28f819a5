// Files as memory: a model's weights are paged in when they are packed, not when the model is loaded.
#include "addon/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace filigree {

namespace {

struct File {
  int descriptor;
  explicit File(const char* path) : descriptor(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

[[noreturn]] void fail(Napi::Env env, const std::string& path, const std::string& reason) {
  throw Napi::Error::New(env, "\"" + path + "\": " + reason);
}

}  // namespace

Napi::Value mapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "mapFile expects a path");
  const std::string path = info[0].As<Napi::String>();
  const File file(path.c_str());
  struct stat facts;
  if (file.descriptor < 0 || fstat(file.descriptor, &facts) != 0) fail(env, path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) fail(env, path, "not a regular file");
  const size_t size = static_cast<size_t>(facts.st_size);
  if (size == 0) return Napi::ArrayBuffer::New(env, 0);
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor, 0);
  if (data == MAP_FAILED) fail(env, path, std::strerror(errno));
  void* hint = reinterpret_cast<void*>(size);
  napi_value buffer;
  const auto unmap = [](napi_env, void* mapped, void* bytes) { munmap(mapped, reinterpret_cast<size_t>(bytes)); };
  if (napi_create_external_arraybuffer(env, data, size, unmap, hint, &buffer) == napi_ok) {
    return Napi::Value(env, buffer);
  }
  if (env.IsExceptionPending()) env.GetAndClearPendingException();
  void* copy = nullptr;
  const napi_status status = napi_create_arraybuffer(env, size, &copy, &buffer);
  if (status == napi_ok) std::memcpy(copy, data, size);
  munmap(data, size);
  if (status != napi_ok) {
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    fail(env, path, "no memory for " + std::to_string(size) + " bytes");
  }
  return Napi::Value(env, buffer);
}

}  // namespace filigree
