// A plan with what it needs to run.
#pragma once
#include <memory>
#include <vector>

#include "addon/blob.h"
#include "engine/plan.h"

namespace filigree {

struct PlanHandle {
  std::unique_ptr<Plan> plan;
  std::vector<std::shared_ptr<Blob>> blobs;
  /// The distinct ArrayBuffers among the constants.
  std::vector<std::shared_ptr<HeldBuffer>> held;
  std::shared_ptr<BlockPool> arenas;
};

std::shared_ptr<PlanHandle> requirePlan(napi_env env, napi_value value);

}  // namespace filigree
