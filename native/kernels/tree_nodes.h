// Packed tree ensembles: every node is a comparison "x <= split", so that eight walks go on together without a branch.
#pragma once
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Walks that go on together: each waits for its loads, not for the others.
constexpr int kWalks = 8;
constexpr uint64_t kTreeMagic = 0x31736565727431f1;
/// On `feature` of a node: NaN counts as no greater than the split.
constexpr uint32_t kMissingBelow = 0x80000000;
constexpr int64_t kMaxNodes = int64_t{1} << 27;

/// A branch, or a leaf, which leads to itself and holds its vote in `split`. Offsets are in bytes from the first node.
template <class T>
struct TreeNode {
  T split;
  uint32_t feature;
  /// Where x <= split, and where it is not.
  uint32_t next[2];
};

struct TreeVote {
  double weight;
  int64_t target;
};

/// Then nodes (branches, a tree's before the next one's, then leaves), roots (offsets; a multiple of kWalks), and with
/// `votes` the number of each leaf's first vote and the votes.
struct TreeHeader {
  uint64_t magic;
  int64_t bytes, branches, leaves, trees, features, targets, votes;
  /// 1 where a node has kMissingBelow.
  int64_t missing;
  int64_t node_bytes;
  int64_t padding[6];
};
static_assert(sizeof(TreeHeader) == 128, "nodes begin at a cache line");

FILIGREE_INLINE int64_t wholeLines(int64_t bytes) { return (bytes + 63) / 64 * 64; }
FILIGREE_INLINE int64_t walkGroups(int64_t trees) { return (trees + kWalks - 1) / kWalks; }

/// Where the parts of a packing lie.
struct TreeLayout {
  int64_t roots, firsts, votes, end;

  FILIGREE_INLINE_MEMBER TreeLayout(int64_t nodes, int64_t node_bytes, int64_t trees, int64_t leaves, int64_t count) {
    roots = static_cast<int64_t>(sizeof(TreeHeader)) + wholeLines(nodes * node_bytes);
    firsts = roots + wholeLines(walkGroups(trees) * kWalks * 4);
    votes = firsts + (count ? wholeLines((leaves + 1) * 4) : 0);
    end = votes + count * static_cast<int64_t>(sizeof(TreeVote));
  }
};

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
