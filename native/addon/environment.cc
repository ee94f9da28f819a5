#include "addon/environment.h"

#include <algorithm>
#include <cstring>

#include "addon/blob.h"

namespace filigree {

Task::Task(Napi::Env env) : environment_(Environment::of(env)), env_(env) {}

Task::~Task() {
  for (napi_ref reference : kept_) napi_delete_reference(env_, reference);
}

void Task::keep(napi_value value) {
  napi_ref reference;
  if (napi_create_reference(env_, value, 1, &reference) == napi_ok) kept_.push_back(reference);
}

void Task::finish() {
  // The task may be gone as soon as it is reported.
  const std::shared_ptr<Environment> environment = environment_;
  environment->completed(this);
}

void Task::settle(Napi::Env env) {
  napi_value value = nullptr;
  bool resolved = false;
  try {
    value = result(env);
    resolved = true;
  } catch (const Napi::Error& error) {
    value = error.Value();
  } catch (const std::exception& error) {
    napi_value message = nullptr, code = nullptr;
    napi_create_string_utf8(env, error.what(), NAPI_AUTO_LENGTH, &message);
    napi_create_string_utf8(env, "ERR_MEMORY", NAPI_AUTO_LENGTH, &code);
    napi_create_error(env, code, message, &value);
  }
  if (!value) return;
  if (resolved) {
    napi_resolve_deferred(env, deferred_, value);
  } else {
    napi_reject_deferred(env, deferred_, value);
  }
}

void Environment::install(Napi::Env env) {
  auto* holder = new std::shared_ptr<Environment>(std::make_shared<Environment>());
  env.SetInstanceData<std::shared_ptr<Environment>>(holder);
  Environment* self = holder->get();
  napi_value name = Napi::String::New(env, "filigree");
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, self, onCompletion,
                                  &self->wake_);
  napi_unref_threadsafe_function(env, self->wake_);
  // After the function above, so that it runs before the function goes.
  napi_add_env_cleanup_hook(env, onCleanup, self);
}

std::shared_ptr<Environment> Environment::of(Napi::Env env) {
  return *env.GetInstanceData<std::shared_ptr<Environment>>();
}

Napi::Value Environment::start(Napi::Env env, std::unique_ptr<Task> task) {
  if (!Pool::instance().ready()) throwCoded(env, "ERR_MEMORY", "the system grants no thread to run on");
  napi_value promise;
  if (napi_create_promise(env, &task->deferred_, &promise) != napi_ok) throw Napi::Error::New(env);
  Task* job = task.get();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (tasks_.empty()) napi_ref_threadsafe_function(env, wake_);
    tasks_.push_back(std::move(task));
  }
  Pool::instance().submit(job);
  return {env, promise};
}

void Environment::withdrawQueued(const AbortToken* token) {
  std::vector<Task*> withdrawn;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& task : tasks_) {
      if (task->token.get() == token && Pool::instance().withdraw(task.get())) withdrawn.push_back(task.get());
    }
  }
  for (Task* task : withdrawn) {
    task->cancel();
    completed(task);
  }
}

void Environment::completed(Task* task) {
  std::lock_guard<std::mutex> lock(mutex_);
  done_.push_back(task);
  if (closed_) {
    idle_.notify_all();
  } else if (done_.size() == 1) {
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  }
}

void Environment::onCompletion(napi_env env, napi_value, void* context, void*) {
  // Without an environment JavaScript can no longer run; onCleanup has taken care of the tasks.
  if (env) static_cast<Environment*>(context)->drain(env);
}

void Environment::drain(Napi::Env env) {
  std::vector<std::unique_ptr<Task>> finished;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Task* task : done_) {
      const auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& t) { return t.get() == task; });
      finished.push_back(std::move(*at));
      tasks_.erase(at);
    }
    done_.clear();
    if (tasks_.empty()) napi_unref_threadsafe_function(env, wake_);
  }
  for (auto& task : finished) {
    Napi::HandleScope scope(env);
    task->settle(env);
  }
}

void Environment::onCleanup(void* context) {
  Environment* self = static_cast<Environment*>(context);
  std::vector<std::unique_ptr<Task>> dropped;
  std::unique_lock<std::mutex> lock(self->mutex_);
  self->closed_ = true;
  for (const auto& task : self->tasks_) {
    if (std::find(self->done_.begin(), self->done_.end(), task.get()) != self->done_.end()) continue;
    task->cancel();
    if (Pool::instance().withdraw(task.get())) self->done_.push_back(task.get());
  }
  // What still runs reads memory that goes away with the environment.
  self->idle_.wait(lock, [&] { return self->done_.size() == self->tasks_.size(); });
  dropped.swap(self->tasks_);
  self->done_.clear();
}

std::shared_ptr<HeldBuffer> Environment::hold(napi_env env, const View& view) {
  constexpr size_t kRemembered = 8;
  for (const auto& entry : held_) {
    const std::shared_ptr<HeldBuffer> held = entry.lock();
    if (!held || !held->holds(env, view)) continue;
    held->cover(view);
    return held;
  }
  const auto held = std::make_shared<HeldBuffer>(env, view);
  if (held_.size() == kRemembered) held_.erase(held_.begin());
  held_.push_back(held);
  return held;
}

BlockPool& stagingPool() {
  static BlockPool* const pool = new BlockPool(size_t{64} << 20);
  return *pool;
}

}  // namespace filigree
