// convert and logits: what they write is whole or not there, and no input is written over.

#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "graft/io/safetensors.h"
#include "graft/tests/io/gguf_bytes.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

constexpr uint32_t u32_type = 4, f32_type = 6, text_type = 8, list_type = 9;
constexpr uint64_t vocab = 8, hidden = 32, ffn = 64;

std::string list(uint32_t type, const std::vector<std::string>& elements) {
  std::string bytes = raw(type) + raw(uint64_t{elements.size()});
  for (const std::string& element : elements)
    bytes += element;
  return bytes;
}

/// A Llama of one layer, about 45 kB in f32, with a byte-level tokenizer of eight tokens.
fs::path tiny_gguf(const TemporaryFolder& scratch) {
  GgufBytes file;
  const auto text = [&](const char* key, const char* value) {
    file.values.push_back(gguf_value(key, text_type, gguf_text(value)));
  };
  const auto number = [&](const char* key, uint32_t value) {
    file.values.push_back(gguf_value(key, u32_type, raw(value)));
  };
  const auto texts = [&](const char* key, std::vector<std::string> values) {
    for (std::string& value : values)
      value = gguf_text(value);
    file.values.push_back(gguf_value(key, list_type, list(text_type, values)));
  };
  text("general.architecture", "llama");
  number("llama.block_count", 1);
  number("llama.context_length", 64);
  number("llama.embedding_length", hidden);
  number("llama.feed_forward_length", ffn);
  number("llama.attention.head_count", 4);
  number("llama.attention.head_count_kv", 4);
  file.values.push_back(gguf_value("llama.attention.layer_norm_rms_epsilon", f32_type, raw(1e-5f)));
  text("tokenizer.ggml.model", "gpt2");
  text("tokenizer.ggml.pre", "gpt-2");
  texts("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "c", "d", "e", "f"});
  texts("tokenizer.ggml.merges", {"a b"});
  std::vector<std::string> types(vocab, raw(uint32_t{1}));
  types[0] = raw(uint32_t{3});
  file.values.push_back(gguf_value("tokenizer.ggml.token_type", list_type, list(u32_type, types)));
  number("tokenizer.ggml.eos_token_id", 0);
  const auto tensor = [&](const std::string& name, const std::vector<uint64_t>& sizes) {
    file.tensors.push_back(gguf_tensor(name, sizes, 0, file.data.size()));
    uint64_t count = 1;
    for (const uint64_t size : sizes)
      count *= size;
    for (uint64_t i = 0; i < count; ++i)
      file.data += raw(0.25f * static_cast<float>((i * 7 + file.tensors.size()) % 11) - 1.2f);
  };
  tensor("token_embd.weight", {hidden, vocab});
  tensor("output_norm.weight", {hidden});
  for (const char* norm : {"attn_norm", "ffn_norm"})
    tensor("blk.0." + std::string(norm) + ".weight", {hidden});
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
    tensor("blk.0." + std::string(name) + ".weight", {hidden, hidden});
  for (const char* name : {"ffn_gate", "ffn_up"})
    tensor("blk.0." + std::string(name) + ".weight", {hidden, ffn});
  tensor("blk.0.ffn_down.weight", {ffn, hidden});
  put_bytes(scratch / "model.gguf", file.bytes());
  return scratch / "model.gguf";
}

Arguments convert(const TemporaryFolder& scratch, const Arguments& more = {}) {
  return joined({"convert", "--from", tiny_gguf(scratch), "--out", scratch / "new/model"}, more);
}

fs::path ids_file(const TemporaryFolder& scratch) {
  std::ofstream(scratch / "ids.jsonl") << "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [4]}\n";
  return scratch / "ids.jsonl";
}

Arguments logits(const fs::path& model, const fs::path& ids, const fs::path& out) {
  return {"logits", "--model", model, "--data", ids, "--out", out};
}

const CommandOptions small_disk{.max_file_bytes = 20'000};

}  // namespace

TEST_CASE("convert: the folder has the logits of the file") {
  const TemporaryFolder scratch;
  check_exit(run_graft(convert(scratch)), 0);
  const fs::path ids = ids_file(scratch), a = scratch / "a.safetensors",
                 b = scratch / "b.safetensors";
  check_exit(run_graft(logits(scratch / "model.gguf", ids, a)), 0);
  check_exit(run_graft(logits(scratch / "new/model", ids, b)), 0);
  CHECK(content_of(a) == content_of(b));
  CHECK(io::SafetensorsFile(a).info("logits.0").shape == Shape{3, vocab});
  CHECK(snapshot(scratch / "new").size() == 5);  // the folder, two files of each kind
}

TEST_CASE("convert: on a full disk nothing is left, and the exit code is 4") {
  const TemporaryFolder scratch;
  const Arguments arguments = convert(scratch);
  const auto before = snapshot(scratch.path());
  const CommandResult result = run_graft(arguments, small_disk);
  check_exit(result, 4);
  check_contains(result.err, "graft: error: write ");
  check_contains(result.err, "model.safetensors: file larger than this process may write");
  CHECK(snapshot(scratch.path()) == before);
  check_exit(run_graft(arguments), 0);
}

TEST_CASE("convert: --overwrite on a full disk leaves the model that was there") {
  const TemporaryFolder scratch;
  check_exit(run_graft(convert(scratch, {"--dtype", "bf16"})), 0);
  put_bytes(scratch / "new/model/tokenizer.json", "another");
  const auto before = snapshot(scratch.path());
  check_exit(run_graft(convert(scratch, {"--overwrite"}), small_disk), 4);
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("convert: --overwrite replaces the model with all its shards, and nothing else") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "new/model";
  check_exit(run_graft(convert(scratch)), 0);
  const auto expected = snapshot(out);
  for (const char* stale : {"model-00001-of-00002.safetensors", "model.safetensors.index.json",
                            "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"})
    put_bytes(out / stale, "of another model");
  put_bytes(out / "config.json", "{}");
  put_bytes(out / "notes.txt", "mine");
  check_exit(run_graft(convert(scratch)), 2);
  check_exit(run_graft(convert(scratch, {"--overwrite"})), 0);
  CHECK(content_of(out / "notes.txt") == "mine");
  fs::remove(out / "notes.txt");
  CHECK(snapshot(out) == expected);
}

TEST_CASE("convert: a folder where something that is no file is in the way is left as it is") {
  const TemporaryFolder scratch;
  const Arguments arguments = convert(scratch, {"--overwrite"});
  fs::create_directories(scratch / "new/model/config.json");
  put_bytes(scratch / "new/model/model.safetensors", "old");
  const auto before = snapshot(scratch.path());
  const CommandResult result = run_graft(arguments);
  check_exit(result, 4);
  check_contains(result.err, "config.json: is a folder");
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("convert: what a killed process left does not stand in the way") {
  const TemporaryFolder scratch;
  const pid_t dead = fork();
  if (dead == 0)
    _exit(0);
  waitpid(dead, nullptr, 0);
  const fs::path out = scratch / "new/model";
  fs::create_directories(out / (".tmp-files-" + std::to_string(dead)));
  check_exit(run_graft(convert(scratch)), 0);
  CHECK(snapshot(out).size() == 4);
}

TEST_CASE("convert: a folder becomes a GGUF file with the same logits, tokens and template") {
  const TemporaryFolder scratch;
  check_exit(run_graft(convert(scratch)), 0);
  const fs::path folder = scratch / "new/model", file = scratch / "again.gguf";
  put_bytes(folder / "chat_template.jinja", "{{ messages[0].content }}");
  check_exit(run_graft({"convert", "--from", folder, "--out", file}), 0);
  const fs::path ids = ids_file(scratch), a = scratch / "a.safetensors",
                 b = scratch / "b.safetensors";
  check_exit(run_graft(logits(folder, ids, a)), 0);
  check_exit(run_graft(logits(file, ids, b)), 0);
  CHECK(content_of(a) == content_of(b));
  check_exit(run_graft({"convert", "--from", file, "--out", scratch / "third"}), 0);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    CAPTURE(name);
    CHECK(content_of(scratch / "third" / name) == content_of(folder / name));
  }
  check_contains(content_of(scratch / "third/tokenizer_config.json"), "messages[0].content");
}

TEST_CASE("convert: quantised GGUF files are read, and are smaller") {
  const TemporaryFolder scratch;
  const fs::path ids = ids_file(scratch);
  uintmax_t larger = fs::file_size(tiny_gguf(scratch));
  for (const char* dtype : {"bf16", "q8_0", "q4_0"}) {
    CAPTURE(dtype);
    const fs::path out = scratch / (std::string(dtype) + ".gguf");
    const CommandResult result = run_graft({"convert", "--from", scratch / "model.gguf", "--to",
                                            "gguf", "--dtype", dtype, "--out", out, "--json"});
    check_exit(result, 0);
    CHECK(json_of(result)["warnings"].empty());
    CHECK(fs::file_size(out) < larger);
    larger = fs::file_size(out);
    check_exit(run_graft(logits(out, ids, scratch / "a.safetensors")), 0);
  }
}

TEST_CASE("convert: a GGUF file appears whole, and replaces another with --overwrite only") {
  const TemporaryFolder scratch;
  const fs::path model = tiny_gguf(scratch), out = scratch / "out.gguf";
  const Arguments arguments = {"convert", "--from", model, "--to", "gguf", "--out", out};
  const auto before = snapshot(scratch.path());
  const CommandResult full = run_graft(arguments, small_disk);
  check_exit(full, 4);
  check_contains(full.err, "out.gguf: file larger than this process may write");
  CHECK(snapshot(scratch.path()) == before);
  check_exit(run_graft(arguments), 0);
  const CommandResult there = run_graft(arguments);
  check_exit(there, 2);
  check_contains(there.err, "is there already; give --overwrite");
  check_exit(run_graft(joined(arguments, {"--overwrite"})), 0);
  const CommandResult onto_itself =
      run_graft({"convert", "--from", model, "--to", "gguf", "--out", model, "--overwrite"});
  check_exit(onto_itself, 2);
  check_contains(onto_itself.err, "which is an input");
}

TEST_CASE("convert: a model without a tokenizer, and settings that only adapters have") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out.gguf";
  const CommandResult result = run_graft({"convert", "--from", golden("models/odd"), "--out", out});
  check_exit(result, 0);
  check_contains(result.err, "the model has no tokenizer, and so has the file");
  const CommandResult refused = run_graft({"convert", "--from", golden("models/odd"), "--model",
                                           golden("models/odd"), "--out", scratch / "b.gguf"});
  check_exit(refused, 2);
  check_contains(refused.err, "--model is for adapters");
  const CommandResult wide = run_graft({"convert", "--from", golden("models/odd"), "--to", "hf",
                                        "--dtype", "q8_0", "--out", scratch / "hf"});
  check_exit(wide, 2);
  check_contains(wide.err, "only models in GGUF files have");
}

TEST_CASE("logits: on a full disk the older file stays, and the exit code is 4") {
  const TemporaryFolder scratch;
  const fs::path model = tiny_gguf(scratch), out = scratch / "out.safetensors";
  std::ofstream ids(scratch / "ids.jsonl");
  for (int i = 0; i < 20; ++i)
    ids << "{\"input_ids\": [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, "
           "3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5]}\n";  // 40 x 8 x 4 bytes
  ids.close();
  put_bytes(out, "older");
  const auto before = snapshot(scratch.path());
  const CommandResult result = run_graft(logits(model, scratch / "ids.jsonl", out), small_disk);
  check_exit(result, 4);
  check_contains(result.err, "out.safetensors: file larger than this process may write");
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("logits: --out is neither an input nor in one") {
  const TemporaryFolder scratch;
  const fs::path model = tiny_gguf(scratch), ids = ids_file(scratch);
  const fs::path folder = scratch / "folder";
  fs::copy(golden("models/gqa"), folder);
  fs::copy(golden("lora_runs/q_v/initial"), scratch / "adapter");
  fs::create_symlink(ids, scratch / "link.jsonl");
  const auto before = snapshot(scratch.path());
  const auto refused = [&](const fs::path& from, const fs::path& out, const Arguments& more = {}) {
    const CommandResult result = run_graft(joined(logits(from, ids, out), more));
    check_exit(result, 2);
    check_contains(result.err, "--out " + out.string());
  };
  refused(model, ids);
  refused(model, scratch / "link.jsonl");
  refused(model, model);
  refused(folder, folder / "model.safetensors");
  refused(folder, scratch / "adapter/logits.safetensors", {"--adapter", scratch / "adapter"});
  refused(model, folder);  // a folder
  const CommandResult nowhere = run_graft(logits(model, ids, scratch / "none/a.safetensors"));
  check_exit(nowhere, 4);
  check_contains(nowhere.err, "none");
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("logits: its flags may come from a config file") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out.safetensors";
  std::ofstream(scratch / "logits.toml")
      << "model = '" << tiny_gguf(scratch).string() << "'\n[logits]\ndata = '"
      << ids_file(scratch).string() << "'\n";
  check_exit(run_graft({"logits", "--config", scratch / "logits.toml", "--out", out}), 0);
  CHECK(fs::exists(out));
}
