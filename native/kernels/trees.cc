// Sums, or extremes, of the leaves that rows reach in the trees of an ensemble.
#include "kernels/tree_nodes.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Rows that a group of trees sees before the next group: the group's nodes and the rows stay in the nearest cache.
constexpr int64_t kBlockRows = 32;

enum { kX, kTrees, kSums };
enum { kRows, kFeatures, kTargets, kTreeCount, kParts, kAggregate };
enum { kSum, kMin, kMax, kAggregates };

template <class T>
const char* checkTrees(const Step& step, Work* work) {
  const int64_t rows = intParam(step, kRows), features = intParam(step, kFeatures), trees = intParam(step, kTreeCount);
  const int64_t targets = intParam(step, kTargets), parts = intParam(step, kParts);
  const double row_cost = floatParam(step, kAggregate + 1);
  // Leaves compare feature 0 like branches, so that walks need not stop together: it has to be there.
  if (features < 1) return "rows have at least one feature";
  if (targets < 1 || trees < 1 || trees > kMaxNodes) return "no such ensemble";
  if (parts < 1 || parts > walkGroups(trees)) return "more parts than groups of trees";
  if (intParam(step, kAggregate) < 0 || intParam(step, kAggregate) >= kAggregates) return "aggregate is 0, 1 or 2";
  if (!holds(step, kX, product(rows, features), sizeof(T))) return "x is smaller than its sizes say";
  if (!holds(step, kSums, product(product(parts, rows), targets), 8)) return "sums are smaller than their sizes say";
  if (step.operands[kTrees].bytes < sizeof(TreeHeader)) return "the trees are cut short";
  if (!(row_cost >= 0 && row_cost < 1e15)) return "row_cost is out of range";
  work->units = product(parts, (rows + kBlockRows - 1) / kBlockRows);
  work->cost = static_cast<double>(rows) * row_cost;
  work->scratch = 0;
  return nullptr;
}

template <class T>
struct Ensemble {
  const uint8_t* nodes;
  const uint32_t* roots;
  const uint32_t* firsts;
  const TreeVote* votes;
  /// Offset of the first leaf.
  uint32_t leaves;
  bool missing;

  /// False where the operand holds other trees.
  bool open(const Step& step) {
    const Operand& packing = step.operands[kTrees];
    const TreeHeader& h = *reinterpret_cast<const TreeHeader*>(packing.data);
    if (h.magic != kTreeMagic || static_cast<uint64_t>(h.bytes) > packing.bytes) return false;
    if (h.node_bytes != static_cast<int64_t>(sizeof(TreeNode<T>)) || h.trees != intParam(step, kTreeCount))
      return false;
    if (h.features > intParam(step, kFeatures) || h.targets != intParam(step, kTargets)) return false;
    const TreeLayout layout(h.branches + h.leaves, h.node_bytes, h.trees, h.leaves, h.votes);
    nodes = packing.data + sizeof(TreeHeader);
    roots = reinterpret_cast<const uint32_t*>(packing.data + layout.roots);
    firsts = h.votes ? reinterpret_cast<const uint32_t*>(packing.data + layout.firsts) : nullptr;
    votes = reinterpret_cast<const TreeVote*>(packing.data + layout.votes);
    leaves = static_cast<uint32_t>(h.branches * h.node_bytes);
    missing = h.missing != 0;
    return true;
  }

  const TreeNode<T>& node(uint32_t at) const { return *reinterpret_cast<const TreeNode<T>*>(nodes + at); }
};

template <class T, bool kMissing>
FILIGREE_INLINE uint32_t follow(const uint8_t* nodes, uint32_t at, const T* x) {
  const TreeNode<T>& node = *reinterpret_cast<const TreeNode<T>*>(nodes + at);
  if (!kMissing) return node.next[!(x[node.feature] <= node.split)];
  const T value = x[node.feature & ~kMissingBelow];
  const bool below = (value != value) & (node.feature >= kMissingBelow);
  return node.next[!((value <= node.split) | below)];
}

/// Where kWalks walks end that begin at `at`; walk i reads the row at x + i * stride, or the last of `rows`.
template <class T, bool kMissing, bool kApart>
FILIGREE_INLINE void walk(const Ensemble<T>& e, const T* x, int64_t stride, int64_t rows, uint32_t (&at)[kWalks]) {
  const T* from[kWalks];
  for (int i = 0; i < kWalks; i++) from[i] = kApart ? x + (i < rows ? i : rows - 1) * stride : x;
  const uint8_t* nodes = e.nodes;
  const uint32_t leaves = e.leaves;
  uint32_t place[kWalks], least;
  for (int i = 0; i < kWalks; i++) place[i] = at[i];
  do {
    least = ~0u;
#pragma GCC unroll 8
    for (int i = 0; i < kWalks; i++) {
      place[i] = follow<T, kMissing>(nodes, place[i], from[i]);
      least = place[i] < least ? place[i] : least;
    }
  } while (least < leaves);
  for (int i = 0; i < kWalks; i++) at[i] = place[i];
}

FILIGREE_INLINE void join(double* sum, double weight, int64_t how) {
  if (how == kSum) {
    *sum += weight;
  } else if (how == kMin ? weight < *sum : weight > *sum) {
    *sum = weight;
  }
}

template <class T>
FILIGREE_INLINE void cast(const Ensemble<T>& e, uint32_t at, double* sums, int64_t how) {
  if (!e.firsts) return join(sums, e.node(at).split, how);
  const size_t leaf = (at - e.leaves) / sizeof(TreeNode<T>);
  for (uint32_t v = e.firsts[leaf]; v < e.firsts[leaf + 1]; v++) join(sums + e.votes[v].target, e.votes[v].weight, how);
}

/// A block of rows, whose sums lie at `sums`, through the trees of group `group`, of which there are `count`.
template <class T, bool kMissing>
void runGroup(const Ensemble<T>& e, const Step& step, int64_t group, int64_t count, const T* x, int64_t rows,
              double* sums) {
  const int64_t features = intParam(step, kFeatures), targets = intParam(step, kTargets);
  const int64_t how = intParam(step, kAggregate);
  const uint32_t* roots = e.roots + group * kWalks;
  uint32_t at[kWalks];
  if (count * ((rows + kWalks - 1) / kWalks) < rows) {
    // Few trees: one after the other, several rows at once.
    for (int64_t row = 0; row < rows; row += kWalks) {
      const int64_t many = rows - row < kWalks ? rows - row : kWalks;
      for (int64_t tree = 0; tree < count; tree++) {
        for (int i = 0; i < kWalks; i++) at[i] = roots[tree];
        walk<T, kMissing, true>(e, x + row * features, features, many, at);
        for (int64_t i = 0; i < many; i++) cast(e, at[i], sums + (row + i) * targets, how);
      }
    }
    return;
  }
  for (int64_t row = 0; row < rows; row++) {
    for (int i = 0; i < kWalks; i++) at[i] = roots[i];
    walk<T, kMissing, false>(e, x + row * features, 0, 1, at);
    for (int64_t i = 0; i < count; i++) cast(e, at[i], sums + row * targets, how);
  }
}

template <class T>
void runTrees(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  Ensemble<T> e;
  if (!e.open(step)) {
    range->error = "the trees were packed for another ensemble";
    return;
  }
  const int64_t rows = intParam(step, kRows), features = intParam(step, kFeatures), parts = intParam(step, kParts);
  const int64_t targets = intParam(step, kTargets), trees = intParam(step, kTreeCount), groups = walkGroups(trees);
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows, how = intParam(step, kAggregate);
  const double unset = how == kSum ? 0 : how == kMin ? __builtin_inf() : -__builtin_inf();
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t part = unit / blocks, first = unit % blocks * kBlockRows;
    const int64_t many = rows - first < kBlockRows ? rows - first : kBlockRows;
    double* sums = output<double>(step, kSums) + (part * rows + first) * targets;
    const T* x = input<T>(step, kX) + first * features;
    for (int64_t i = 0; i < many * targets; i++) sums[i] = unset;
    for (int64_t group = groups * part / parts; group < groups * (part + 1) / parts; group++) {
      const int64_t left = trees - group * kWalks, count = left < kWalks ? left : kWalks;
      if (e.missing) {
        runGroup<T, true>(e, step, group, count, x, many, sums);
      } else {
        runGroup<T, false>(e, step, group, count, x, many, sums);
      }
    }
  }
}

enum { kSplits, kLinks, kRoots, kFirsts, kTargetsOf, kWeights, kPacking };
enum { kPackBranches, kPackLeaves, kPackTrees, kPackFeatures, kPackTargets, kPackVotes };

struct Counts {
  int64_t branches, leaves, trees, features, targets, votes;
};

FILIGREE_INLINE Counts countsOf(const Step& step) {
  return {intParam(step, kPackBranches), intParam(step, kPackLeaves),  intParam(step, kPackTrees),
          intParam(step, kPackFeatures), intParam(step, kPackTargets), intParam(step, kPackVotes)};
}

template <class T>
TreeLayout packedLayout(const Counts& n) {
  return TreeLayout(n.branches + n.leaves, sizeof(TreeNode<T>), n.trees, n.leaves, n.votes);
}

template <class T>
const char* checkPack(const Step& step, Work* work) {
  const Counts n = countsOf(step);
  if (n.branches < 0 || n.leaves < 1 || n.branches > kMaxNodes || n.leaves > kMaxNodes) return "no such nodes";
  if (n.trees < 1 || n.trees > kMaxNodes || n.votes < 0 || n.votes > kMaxNodes) return "no such trees";
  if (n.features < 0 || n.features > INT32_MAX || n.targets < 1) return "no such features or targets";
  if ((n.branches + n.leaves) * static_cast<int64_t>(sizeof(TreeNode<T>)) > UINT32_MAX) return "too many nodes";
  if (!holds(step, kSplits, n.branches + n.leaves, sizeof(T))) return "splits are fewer than the nodes";
  if (!holds(step, kLinks, n.branches * 3, 4)) return "links are fewer than the branches";
  if (!holds(step, kRoots, n.trees, 4)) return "roots are fewer than the trees";
  if (n.votes == 0) {
    if (n.targets != 1) return "leaves of one vote are for one target";
  } else if (!holds(step, kFirsts, n.leaves + 1, 4) || !holds(step, kTargetsOf, n.votes, 4) ||
             !holds(step, kWeights, n.votes, 8)) {
    return "votes are fewer than their count";
  }
  if (!holds(step, kPacking, packedLayout<T>(n).end, 1)) return "the packing is too small";
  work->units = 1;
  work->cost = static_cast<double>(n.branches + n.leaves) * 4;
  work->scratch = 0;
  return nullptr;
}

template <class T>
size_t packBytes(const Step& step) {
  return static_cast<size_t>(packedLayout<T>(countsOf(step)).end);
}

/// Branches lead to later nodes alone, so that every walk ends.
template <class T>
const char* packNodes(const Step& step, const Counts& n, TreeNode<T>* nodes, int64_t* missing) {
  constexpr uint32_t kBytes = sizeof(TreeNode<T>);
  const T* splits = input<T>(step, kSplits);
  const int32_t* links = input<int32_t>(step, kLinks);
  *missing = 0;
  for (int64_t i = 0; i < n.branches; i++, links += 3) {
    const uint32_t feature = static_cast<uint32_t>(links[0]);
    if ((feature & ~kMissingBelow) >= static_cast<uint64_t>(n.features))
      return "a node compares a feature that is none";
    for (int k = 1; k <= 2; k++) {
      if (links[k] <= i || links[k] >= n.branches + n.leaves) return "a node leads backwards or nowhere";
    }
    if (feature & kMissingBelow) *missing = 1;
    nodes[i] = {
        splits[i], feature, {static_cast<uint32_t>(links[1]) * kBytes, static_cast<uint32_t>(links[2]) * kBytes}};
  }
  for (int64_t i = n.branches; i < n.branches + n.leaves; i++) {
    const uint32_t self = static_cast<uint32_t>(i) * kBytes;
    nodes[i] = {splits[i], 0, {self, self}};
  }
  return nullptr;
}

const char* packVotes(const Step& step, const Counts& n, uint32_t* firsts, TreeVote* votes) {
  if (n.votes == 0) return nullptr;
  const int32_t *from = input<int32_t>(step, kFirsts), *targets = input<int32_t>(step, kTargetsOf);
  const double* weights = input<double>(step, kWeights);
  for (int64_t i = 0; i <= n.leaves; i++) {
    if (from[i] < (i ? from[i - 1] : 0) || from[i] > n.votes) return "votes are out of order";
    firsts[i] = static_cast<uint32_t>(from[i]);
  }
  for (int64_t i = 0; i < n.votes; i++) {
    if (targets[i] < 0 || targets[i] >= n.targets) return "a vote is for no target";
    votes[i] = {weights[i], targets[i]};
  }
  return nullptr;
}

template <class T>
void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const Counts n = countsOf(step);
  const TreeLayout layout = packedLayout<T>(n);
  uint8_t* base = output<uint8_t>(step, kPacking);
  TreeHeader header = {};
  range->error = packNodes<T>(step, n, reinterpret_cast<TreeNode<T>*>(base + sizeof header), &header.missing);
  uint32_t* roots = reinterpret_cast<uint32_t*>(base + layout.roots);
  for (int64_t i = 0; i < walkGroups(n.trees) * kWalks; i++) {
    // Walks without a tree stay at the first leaf.
    const int64_t root = i < n.trees ? input<int32_t>(step, kRoots)[i] : n.branches;
    if (root < 0 || root >= n.branches + n.leaves) range->error = "a root is no node";
    roots[i] = static_cast<uint32_t>(root * static_cast<int64_t>(sizeof(TreeNode<T>)));
  }
  const char* wrong = packVotes(step, n, reinterpret_cast<uint32_t*>(base + layout.firsts),
                                reinterpret_cast<TreeVote*>(base + layout.votes));
  if (wrong) range->error = wrong;
  header.bytes = layout.end, header.branches = n.branches, header.leaves = n.leaves, header.trees = n.trees;
  header.features = n.features, header.targets = n.targets, header.votes = n.votes;
  header.node_bytes = sizeof(TreeNode<T>);
  header.magic = range->error ? 0 : kTreeMagic;
  std::memcpy(base, &header, sizeof header);
}

constexpr const char* kTreeParams = "i:rows i:features i:targets i:trees i:parts i:aggregate f:row_cost";
constexpr const char* kPackOperands = "r:splits r:links r:roots r:firsts? r:targets? r:weights? w:packing";
constexpr const char* kPackParams = "i:branches i:leaves i:trees i:features i:targets i:votes";

}  // namespace

// sums [parts, rows, targets]: of the leaves that a row of x [rows, features] reaches, the sum (aggregate 0), least (1)
// or greatest (2) weight, in each of `parts` shares of the trees; infinity where no leaf speaks of a target and
// aggregate is not 0. `row_cost`: nanoseconds a row.
#define TREES_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:x r:trees w:sums", kTreeParams, checkTrees<T>, runTrees<T>, nullptr, nullptr, false};
TREES_KERNEL(treesF32, "trees.f32", float)
TREES_KERNEL(treesF64, "trees.f64", double)
#undef TREES_KERNEL

// Nodes: branches first, each before those it leads to, then leaves. links [branches, 3]: feature, with the sign bit
// where NaN is taken as no greater than the split, then the nodes where x <= split and where not. With votes 0 a leaf's
// only vote is its split; else firsts [leaves + 1] tells where the votes of a leaf begin.
#define PACK_TREES(id, name, T) \
  FILIGREE_KERNEL(id) = {name, kPackOperands, kPackParams, checkPack<T>, runPack<T>, packBytes<T>, nullptr, false};
PACK_TREES(packTreesF32, "pack.trees.f32", float)
PACK_TREES(packTreesF64, "pack.trees.f64", double)
#undef PACK_TREES

}  // namespace FILIGREE_ISA
}  // namespace filigree
