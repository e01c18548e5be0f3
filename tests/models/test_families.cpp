// Every family in several configurations against transformers (tests/golden/make_families.py).

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/models/family.h"
#include "graft/models/generate.h"
#include "graft/models/save.h"
#include "graft/nn/kv_cache.h"
#include "graft/tensor/copy.h"
#include "graft/tests/models/models.h"
#include "graft/tests/support/families.h"

namespace graft {
namespace {

using test::family_records, test::FamilyCase;

/// f32 sums in two orders; transformers' own logits are up to 3e-6 away from f64 (f32_rounding).
constexpr double tolerance = 2e-5;

std::vector<int64_t> ids_in(const io::Json& json) {
  return json.get<std::vector<int64_t>>();
}

/// Logits (T,V) of one row alone.
Tensor row_logits(const nn::CausalLM& model, const std::vector<int64_t>& ids,
                  const nn::Context& context = {}) {
  return test::row_of(test::logits_of(model, test::ids_of(ids), context), 0);
}

/// Logits of both rows of a case, (tokens, V): the second is padded on the right.
Tensor padded_logits(const nn::CausalLM& model, const io::Json& rows) {
  const std::vector<int64_t> first = ids_in(rows[0]);
  const std::vector<int64_t> second = ids_in(rows[1]);
  const int64_t length = static_cast<int64_t>(first.size());
  std::vector<int64_t> both = first;
  both.insert(both.end(), second.begin(), second.end());
  both.resize(2 * first.size(), 0);
  const Tensor logits = test::logits_of(model, Tensor::from(both, {2, length}));
  const Tensor parts[] = {test::row_of(logits, 0),
                          test::row_of(logits, 1).slice(0, 0, static_cast<int64_t>(second.size()))};
  return ops::concatenate(parts, 0);
}

/// Logits from the last of `prefill` tokens on: the others come one by one through the cache.
Tensor cached_logits(const nn::CausalLM& model, const std::vector<int64_t>& ids, int64_t prefill) {
  const int64_t length = static_cast<int64_t>(ids.size());
  nn::KvCache cache(model.info().layers, 1, length);
  nn::Context context;
  context.cache = &cache;
  std::vector<Tensor> parts;
  int64_t count = prefill;
  for (int64_t begin = 0; begin < length; begin += std::exchange(count, 1)) {
    const std::vector<int64_t> piece(ids.begin() + begin, ids.begin() + begin + count);
    const Tensor logits = row_logits(model, piece, context);
    parts.push_back(logits.slice(0, count - 1, count));
    cache.advance({count});
  }
  return ops::concatenate(parts, 0);
}

/// Logits (T,V) of texts behind each other in one row.
Tensor packed_logits(const nn::CausalLM& model, const std::vector<std::vector<int64_t>>& texts) {
  std::vector<int64_t> ids, segments, positions;
  for (const std::vector<int64_t>& text : texts) {
    const auto segment = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), text.begin(), text.end());
    segments.resize(ids.size(), segment);
    for (int64_t i = 0; i < std::ssize(text); ++i)
      positions.push_back(i);
  }
  nn::Context context;
  context.segments = Tensor::from(segments, {1, std::ssize(segments)});
  context.positions = Tensor::from(positions, {1, std::ssize(positions)});
  return row_logits(model, ids, context);
}

}  // namespace

TEST_CASE("families: logits are those of transformers, padded and through the cache") {
  const io::SafetensorsFile answers(test::golden("families.safetensors"));
  const int64_t prefill = test::families_json()["prefill"];
  for (const io::Json* record : family_records()) {
    const FamilyCase entry(*record);
    CAPTURE(entry.name);
    const auto model = models::load(entry.folder.path());
    const double plain = test::relative_difference(padded_logits(*model, entry.record["input_ids"]),
                                                   answers.load(entry.name + ".logits"));
    const double cached = test::relative_difference(
        cached_logits(*model, ids_in(entry.record["input_ids"][0]), prefill),
        answers.load(entry.name + ".cached"));
    MESSAGE(entry.name, ": ", plain, ", cached ", cached, " of ", tolerance);
    CHECK(plain < tolerance);
    CHECK(cached < tolerance);
  }
}

TEST_CASE("families: texts packed into one row have the logits of rows of their own") {
  for (const io::Json* record : family_records()) {
    const FamilyCase entry(*record);
    CAPTURE(entry.name);
    const auto model = models::load(entry.folder.path());
    // Of one length, as some kinds of rotary scaling choose their angles by that of the batch.
    const std::vector<int64_t> first = ids_in(entry.record["input_ids"][0]);
    const std::vector<int64_t> second(first.rbegin(), first.rend());
    const Tensor parts[] = {row_logits(*model, first), row_logits(*model, second)};
    const double difference = test::relative_difference(packed_logits(*model, {first, second}),
                                                        ops::concatenate(parts, 0));
    CHECK(difference < tolerance);
  }
}

TEST_CASE("families: in bf16 every family computes, and stays near f32") {
  const io::SafetensorsFile answers(test::golden("families.safetensors"));
  for (const io::Json* record : family_records()) {
    const FamilyCase entry(*record);
    CAPTURE(entry.name);
    const auto model = models::load(entry.folder.path(), {.dtype = DType::bf16});
    const Tensor logits = padded_logits(*model, entry.record["input_ids"]);
    CHECK(logits.dtype() == DType::bf16);
    const double difference =
        test::relative_difference(logits.to(DType::f32), answers.load(entry.name + ".logits"));
    // torch's own bf16 logits of these untrained weights are up to 0.09 away.
    MESSAGE(entry.name, ": ", difference, " of 0.15");
    CHECK(difference < 0.15);
  }
}

TEST_CASE("families: greedy continuations are those of transformers, in one batch and alone") {
  for (const io::Json* record : family_records()) {
    const FamilyCase entry(*record);
    CAPTURE(entry.name);
    const auto model = models::load(entry.folder.path());
    const auto prompts = entry.record["prompts"].get<std::vector<std::vector<int64_t>>>();
    const auto expected = entry.record["greedy_ids"].get<std::vector<std::vector<int64_t>>>();
    const models::GenerateOptions options{.max_new_tokens =
                                              static_cast<int64_t>(expected[0].size())};
    const auto rows = models::generate(*model, prompts, options);
    for (size_t row = 0; row < prompts.size(); ++row) {
      CHECK(rows[row].ids == expected[row]);
      CHECK(models::generate(*model, {prompts[row]}, options)[0].ids == expected[row]);
    }
  }
}

TEST_CASE("families: what is saved has the same numbers and the same configuration") {
  for (const io::Json* record : family_records()) {
    const FamilyCase entry(*record);
    CAPTURE(entry.name);
    const auto model = models::load(entry.folder.path());
    const test::TemporaryFolder out;
    models::save_pretrained(*model, out.path());
    const auto again = models::load(out.path());
    CHECK(again->info().config_json == model->info().config_json);
    const std::vector<int64_t> ids = ids_in(entry.record["input_ids"][0]);
    CHECK(test::same_bits(row_logits(*model, ids), row_logits(*again, ids)));
    const io::SafetensorsFile before(entry.folder / "model.safetensors");
    const io::SafetensorsFile after(out / "model.safetensors");
    CHECK(before.names() == after.names());
  }
}

TEST_CASE("families: every family has a case") {
  std::set<std::string> found;
  for (const io::Json* record : family_records())
    found.insert((*record)["config"]["model_type"].get<std::string>());
  for (const models::Family& family : models::families())
    CHECK_MESSAGE(found.contains(std::string(family.model_type)), family.model_type);
}

}  // namespace graft
