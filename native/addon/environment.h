// What the addon keeps for each JavaScript environment (main thread or Worker): the way back from the pool's threads.
#pragma once
#include <napi.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/memory.h"
#include "engine/pool.h"

namespace filigree {

class Environment;
class HeldBuffer;
struct View;

struct AbortToken {
  std::atomic<bool> set{false};
};

/// Work that runs on the pool and settles a promise. Made and destroyed on the environment's thread.
class Task : public Job {
 public:
  explicit Task(Napi::Env env);
  ~Task() override;

  /// Keeps a value alive until the task is destroyed.
  void keep(napi_value value);
  void finish() override;

  std::shared_ptr<AbortToken> token;
  /// Set when the environment goes away: the work should stop early.
  virtual void cancel() = 0;

 protected:
  /// On the environment's thread after execute: the promise's value. Throws a Napi::Error to reject.
  virtual Napi::Value result(Napi::Env env) = 0;

 private:
  friend class Environment;
  void settle(Napi::Env env);

  std::shared_ptr<Environment> environment_;
  napi_env env_;
  napi_deferred deferred_ = nullptr;
  std::vector<napi_ref> kept_;
};

class Environment : public std::enable_shared_from_this<Environment> {
 public:
  /// Makes the environment's state; called once when the addon is loaded into it.
  static void install(Napi::Env env);
  static std::shared_ptr<Environment> of(Napi::Env env);

  /// Hands a task to the pool; the promise settles on this environment's thread.
  Napi::Value start(Napi::Env env, std::unique_ptr<Task> task);
  /// Completes the tasks with this token that no thread has begun.
  void withdrawQueued(const AbortToken* token);

  /// The shared holder of a view's buffer.
  std::shared_ptr<HeldBuffer> hold(napi_env env, const View& view);

 private:
  friend class Task;
  static void onCompletion(napi_env env, napi_value, void* context, void*);
  static void onCleanup(void* self);

  void completed(Task* task);
  void drain(Napi::Env env);

  napi_threadsafe_function wake_ = nullptr;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<std::unique_ptr<Task>> tasks_;
  std::vector<Task*> done_;
  /// Buffers held lately: the weights of one model share one.
  std::vector<std::weak_ptr<HeldBuffer>> held_;
  bool closed_ = false;
};

/// Memory of copies of inputs and small outputs; shared by all environments.
BlockPool& stagingPool();

}  // namespace filigree
