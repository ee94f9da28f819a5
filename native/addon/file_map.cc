// Files as memory: a model's weights are paged in when they are packed, not when the model is loaded.
#include "addon/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
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

/// Where mappings lie, by address: their pages can be dropped, for the file has them.
class Mappings {
 public:
  static Mappings& instance() {
    // Never destroyed: pool threads may still pack while the process exits.
    static Mappings& mappings = *new Mappings;
    return mappings;
  }
  void add(const void* data, size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    sizes_[reinterpret_cast<uintptr_t>(data)] = size;
  }
  void remove(const void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    sizes_.erase(reinterpret_cast<uintptr_t>(data));
  }
  /// Drops the whole pages among these bytes, where they lie in one mapping.
  void drop(const void* data, size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + size;
    auto found = sizes_.upper_bound(begin);
    if (found == sizes_.begin()) return;
    --found;
    if (end > found->first + found->second) return;
    const uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
  void dropAll() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [begin, size] : sizes_) madvise(reinterpret_cast<void*>(begin), size, MADV_DONTNEED);
  }

 private:
  std::mutex mutex_;
  std::map<uintptr_t, size_t> sizes_;
};

struct Mapping {
  void* data;
  size_t size;
  Mapping(int descriptor, int64_t offset, size_t size)
      : data(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, offset)), size(size) {
    if (data != MAP_FAILED) Mappings::instance().add(data, size);
  }
  ~Mapping() {
    if (data == MAP_FAILED) return;
    Mappings::instance().remove(data);
    munmap(data, size);
  }
};

constexpr int64_t kMaxBufferBytes = 0xffffffff;

[[noreturn]] void fail(Napi::Env env, const std::string& path, const std::string& reason) {
  throw Napi::Error::New(env, "\"" + path + "\": " + reason);
}

/// The buffer owns the mapping, or a copy of it where the engine wants all memory to be its own.
Napi::Value bufferOver(Napi::Env env, const std::string& path, std::unique_ptr<Mapping> mapping, size_t lead,
                       size_t bytes) {
  uint8_t* data = static_cast<uint8_t*>(mapping->data) + lead;
  napi_value buffer;
  const auto release = [](napi_env at, void*, void* hint) {
    auto* gone = static_cast<Mapping*>(hint);
    int64_t total = 0;
    napi_adjust_external_memory(at, static_cast<int64_t>(gone->size), &total);
    delete gone;
  };
  if (napi_create_external_arraybuffer(env, data, bytes, release, mapping.get(), &buffer) == napi_ok) {
    // Pages of a file are no memory that a collection would give back.
    int64_t total = 0;
    napi_adjust_external_memory(env, -static_cast<int64_t>(mapping->size), &total);
    mapping.release();
    return Napi::Value(env, buffer);
  }
  if (env.IsExceptionPending()) env.GetAndClearPendingException();
  void* copy = nullptr;
  if (napi_create_arraybuffer(env, bytes, &copy, &buffer) != napi_ok) {
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    fail(env, path, "no memory for " + std::to_string(bytes) + " bytes");
  }
  std::memcpy(copy, data, bytes);
  return Napi::Value(env, buffer);
}

}  // namespace

void dropMappedPages(const void* data, size_t size) { Mappings::instance().drop(data, size); }

Napi::Value dropFilePages(const Napi::CallbackInfo& info) {
  Mappings::instance().dropAll();
  return info.Env().Undefined();
}

Napi::Value mapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsNumber() || !info[2].IsNumber()) {
    throw Napi::TypeError::New(env, "mapFile expects a path, an offset and a number of bytes");
  }
  const std::string path = info[0].As<Napi::String>();
  const int64_t offset = info[1].As<Napi::Number>().Int64Value();
  const int64_t bytes = info[2].As<Napi::Number>().Int64Value();
  const File file(path.c_str());
  struct stat facts;
  if (file.descriptor < 0 || fstat(file.descriptor, &facts) != 0) fail(env, path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) fail(env, path, "not a regular file");
  if (offset < 0 || bytes < 0 || offset > facts.st_size || bytes > facts.st_size - offset) {
    fail(env, path,
         "bytes " + std::to_string(offset) + " and the " + std::to_string(bytes) + " that follow, of " +
             std::to_string(facts.st_size));
  }
  // The engine aborts the process where a buffer is larger than its views can be.
  if (bytes > kMaxBufferBytes) fail(env, path, "more than 4 GiB in one piece");
  if (bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  const int64_t lead = offset % sysconf(_SC_PAGESIZE);
  auto mapping = std::make_unique<Mapping>(file.descriptor, offset - lead, static_cast<size_t>(bytes + lead));
  if (mapping->data == MAP_FAILED) fail(env, path, std::strerror(errno));
  return bufferOver(env, path, std::move(mapping), static_cast<size_t>(lead), static_cast<size_t>(bytes));
}

}  // namespace filigree
