#include "jit/stream.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "jit/columns.h"

namespace filigree {
namespace jit {

int64_t streamRowGroups(int64_t rows) { return (rows + 63) / 64; }

int64_t streamFirstRow(int64_t rows, int64_t group) {
  const int64_t groups = streamRowGroups(rows);
  if (group >= groups) return rows;
  return (rows + 3) / 4 * group / groups * 4;
}

namespace {

/// Appends to a buffer; without one it only counts.
class Writer {
 public:
  Writer(uint8_t* out, size_t capacity) : out_(out), capacity_(capacity) {}

  int64_t at() const { return static_cast<int64_t>(size_); }
  bool overflowed() const { return out_ && size_ > capacity_; }
  void align(size_t to) { size_ = (size_ + to - 1) / to * to; }
  int64_t put(const void* data, size_t bytes) {
    const int64_t where = at();
    write(where, data, bytes);
    size_ += bytes;
    return where;
  }
  void write(int64_t where, const void* data, size_t bytes) {
    if (out_ && bytes && static_cast<size_t>(where) + bytes <= capacity_) std::memcpy(out_ + where, data, bytes);
  }

 private:
  uint8_t* out_;
  size_t capacity_;
  size_t size_ = 0;
};

/// True where both pairs of four signed bytes have magnitudes that add up to at most `safe_pair`.
bool isSafe(uint32_t bits, int safe_pair) {
  int8_t w[4];
  std::memcpy(w, &bits, sizeof w);
  return std::abs(w[0]) + std::abs(w[1]) <= safe_pair && std::abs(w[2]) + std::abs(w[3]) <= safe_pair;
}

/// Four signed bytes halved, towards minus infinity; and what is left of them.
std::pair<uint32_t, uint32_t> halve(uint32_t bits) {
  int8_t w[4], low[4], high[4];
  std::memcpy(w, &bits, sizeof w);
  for (int i = 0; i < 4; i++) {
    low[i] = static_cast<int8_t>(w[i] >> 1);
    high[i] = static_cast<int8_t>(w[i] - low[i]);
  }
  uint32_t parts[2];
  std::memcpy(&parts[0], low, sizeof low);
  std::memcpy(&parts[1], high, sizeof high);
  return {parts[0], parts[1]};
}

struct Matrix {
  std::vector<StreamColumn> columns;
  /// Nonzeros of row r: [begin[r], begin[r + 1]) with ascending column numbers.
  std::vector<int64_t> begin;
  std::vector<StreamEntry> entries;
};

/// Appends the rows that `piece` holds to a matrix whose columns are still numbered by tap and line, and marks them.
void appendRows(const Source& source, const Piece& piece, int safe_pair, Matrix* matrix, std::vector<int32_t>* used) {
  const auto entriesOf = [&](uint32_t bits) { return safe_pair && !isSafe(bits, safe_pair) ? 2 : 1; };
  const size_t first = static_cast<size_t>(piece.first_row);
  for (const Nonzero& nonzero : piece.nonzeros) {
    matrix->begin[first + static_cast<size_t>(nonzero.row) + 1] += entriesOf(nonzero.bits);
  }
  std::vector<int64_t> next(static_cast<size_t>(piece.rows));
  for (size_t row = 0; row < next.size(); row++) {
    next[row] = matrix->begin[first + row];
    matrix->begin[first + row + 1] += next[row];
  }
  matrix->entries.resize(static_cast<size_t>(matrix->begin[first + next.size()]));
  size_t i = 0;
  for (const Column& column : piece.columns) {
    const int32_t number = static_cast<int32_t>(column.tap * source.lines() + column.line);
    (*used)[static_cast<size_t>(number)] = 1;
    for (; i < column.end; i++) {
      int64_t& at = next[static_cast<size_t>(piece.nonzeros[i].row)];
      uint32_t bits = piece.nonzeros[i].bits;
      if (entriesOf(bits) == 2) {
        const auto [low, high] = halve(bits);
        matrix->entries[static_cast<size_t>(at++)] = {number, low};
        bits = high;
      }
      matrix->entries[static_cast<size_t>(at++)] = {number, bits};
    }
  }
}

/// All rows over the used columns, by tap, then line; `safe_pair` as for streamU8Bytes.
Matrix gather(const Source& source, int safe_pair) {
  Matrix matrix;
  matrix.begin.assign(static_cast<size_t>(source.rows()) + 1, 0);
  std::vector<int32_t> slot(static_cast<size_t>(source.lines() * source.taps()), 0);
  constexpr int64_t kAtOnce = 32;
  Piece piece;
  for (int64_t first = 0; first < source.rows(); first += kAtOnce) {
    source.collect(0, 1, first, std::min(kAtOnce, source.rows() - first), &piece);
    appendRows(source, piece, safe_pair, &matrix, &slot);
  }
  for (size_t i = 0; i < slot.size(); i++) {
    if (!slot[i]) continue;
    slot[i] = static_cast<int32_t>(matrix.columns.size());
    const int64_t number = static_cast<int64_t>(i);
    matrix.columns.push_back(
        {static_cast<int32_t>(number / source.lines()), static_cast<int32_t>(number % source.lines())});
  }
  for (StreamEntry& entry : matrix.entries) entry.line = slot[static_cast<size_t>(entry.line)];
  return matrix;
}

/// A row's nonzeros within one block.
struct RowPart {
  int32_t row;
  const StreamEntry* begin;
  int32_t count;
};

void writeRuns(const std::vector<RowPart>& parts, int32_t first_column, Writer* out) {
  std::vector<int32_t> numbers;
  std::vector<StreamEntry> entries;
  for (size_t i = 0; i < parts.size();) {
    size_t end = i;
    numbers.clear();
    entries.clear();
    for (; end < parts.size() && parts[end].count == parts[i].count; end++) {
      numbers.push_back(parts[end].row);
      for (int32_t k = 0; k < parts[end].count; k++) {
        entries.push_back({(parts[end].begin[k].line - first_column) * 64, parts[end].begin[k].bits});
      }
    }
    const StreamRun run = {parts[i].count, static_cast<int32_t>(end - i)};
    out->put(&run, sizeof run);
    out->put(numbers.data(), numbers.size() * sizeof(int32_t));
    out->align(8);
    out->put(entries.data(), entries.size() * sizeof(StreamEntry));
    i = end;
  }
  const StreamRun end = {0, 0};
  out->put(&end, sizeof end);
}

/// `header` is filled up to groups; bias and scale have a word a row, scale may be empty.
int64_t writeStream(const Source& source, StreamHeader header, const std::vector<uint32_t>& bias,
                    const std::vector<float>& scale, int64_t block_columns, int safe_pair, Writer* out) {
  const Matrix matrix = gather(source, safe_pair);
  header.row_groups = streamRowGroups(header.rows);
  header.used_columns = static_cast<int64_t>(matrix.columns.size());
  header.block_count = std::max<int64_t>(1, (header.used_columns + block_columns - 1) / block_columns);
  header.nonzeros = matrix.begin.back();
  out->put(&header, sizeof header);
  out->align(64);
  header.bias = out->put(bias.data(), bias.size() * sizeof(uint32_t));
  out->align(64);
  header.scale = out->put(scale.data(), scale.size() * sizeof(float));
  out->align(64);
  const size_t words = sizeof(StreamBlock) / 8 + static_cast<size_t>(header.row_groups);
  std::vector<int64_t> table(static_cast<size_t>(header.block_count) * words);
  header.blocks = out->put(table.data(), table.size() * 8);

  std::vector<int64_t> next(matrix.begin.begin(), matrix.begin.end() - 1);
  std::vector<RowPart> parts;
  for (int64_t block = 0; block < header.block_count; block++) {
    const int64_t first = header.used_columns * block / header.block_count;
    const int64_t last = header.used_columns * (block + 1) / header.block_count;
    int64_t* entry = table.data() + static_cast<size_t>(block) * words;
    out->align(64);
    entry[0] = out->put(matrix.columns.data() + first, static_cast<size_t>(last - first) * sizeof(StreamColumn));
    entry[1] = last - first;
    const bool every = block == 0 || block == header.block_count - 1;
    for (int64_t group = 0; group < header.row_groups; group++) {
      parts.clear();
      const int64_t end = group + 1 == header.row_groups ? source.rows() : streamFirstRow(header.rows, group + 1);
      for (int64_t row = streamFirstRow(header.rows, group); row < end; row++) {
        const int64_t begin = next[static_cast<size_t>(row)];
        int64_t& at = next[static_cast<size_t>(row)];
        while (at < matrix.begin[static_cast<size_t>(row) + 1] && matrix.entries[static_cast<size_t>(at)].line < last)
          at++;
        if (every || at > begin) {
          parts.push_back({static_cast<int32_t>(row), matrix.entries.data() + begin, static_cast<int32_t>(at - begin)});
        }
      }
      std::stable_sort(parts.begin(), parts.end(),
                       [](const RowPart& a, const RowPart& b) { return a.count < b.count; });
      out->align(8);
      entry[2 + group] = out->at();
      writeRuns(parts, static_cast<int32_t>(first), out);
    }
  }
  out->align(64);
  header.bytes = out->at();
  out->write(0, &header, sizeof header);
  out->write(header.blocks, table.data(), table.size() * 8);
  return header.bytes;
}

int64_t writeFloats(const SparseSpec& spec, int64_t block_columns, Writer* out) {
  StreamHeader header{};
  header.magic = kStreamF32Magic;
  header.rows = spec.rows, header.columns = spec.columns, header.taps = spec.taps, header.groups = spec.groups;
  std::vector<uint32_t> bias(static_cast<size_t>(spec.rows), 0);
  if (spec.bias && spec.rows) std::memcpy(bias.data(), spec.bias, bias.size() * sizeof(float));
  return writeStream(FloatSource(spec), header, bias, {}, block_columns, 0, out);
}

int64_t writeBytes(const ByteSpec& spec, int64_t block_columns, int safe_pair, Writer* out) {
  StreamHeader header{};
  header.magic = kStreamU8Magic;
  header.rows = spec.rows, header.columns = spec.columns, header.taps = spec.taps, header.groups = spec.groups;
  const ByteSource source(spec);
  std::vector<uint32_t> bias(static_cast<size_t>(source.rows()), 0);
  std::vector<float> scale(static_cast<size_t>(source.rows()), 0.0f);
  for (int64_t row = 0; row < spec.rows; row++) {
    bias[static_cast<size_t>(row)] = static_cast<uint32_t>(foldedBias(spec, row));
    scale[static_cast<size_t>(row)] = spec.scale[row];
  }
  return writeStream(source, header, bias, scale, block_columns, safe_pair, out);
}

constexpr const char* kChanged = "the weights changed between sizing and packing";

}  // namespace

size_t streamF32Bytes(const SparseSpec& spec, int64_t block_columns) {
  Writer counter(nullptr, 0);
  return static_cast<size_t>(writeFloats(spec, block_columns, &counter));
}

const char* streamF32Write(const SparseSpec& spec, int64_t block_columns, uint8_t* out, size_t bytes) {
  Writer writer(out, bytes);
  writeFloats(spec, block_columns, &writer);
  return writer.overflowed() ? kChanged : nullptr;
}

size_t streamU8Bytes(const ByteSpec& spec, int64_t block_columns, int safe_pair) {
  Writer counter(nullptr, 0);
  return static_cast<size_t>(writeBytes(spec, block_columns, safe_pair, &counter));
}

const char* streamU8Write(const ByteSpec& spec, int64_t block_columns, int safe_pair, uint8_t* out, size_t bytes) {
  Writer writer(out, bytes);
  writeBytes(spec, block_columns, safe_pair, &writer);
  return writer.overflowed() ? kChanged : nullptr;
}

}  // namespace jit
}  // namespace filigree
