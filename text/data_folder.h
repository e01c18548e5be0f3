// A folder of data: which of its files is for training, for validation and for testing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace graft::text {

enum class DataPart { train, valid, test };
/// "train", "valid", "test".
std::string_view name_of(DataPart part);

/// The file of a folder that belongs to the part: train, valid (or validation, val, dev, eval) or
/// test, ending in .jsonl, .json or .txt. Nothing where the folder has none, or is no folder.
/// Throws ConfigError where it has several, naming them.
std::optional<std::filesystem::path> find_data_file(const std::filesystem::path& folder,
                                                    DataPart part);

/// `path` itself, or its file of that part where it is a folder. Throws ConfigError where that has
/// none.
std::filesystem::path data_file(const std::filesystem::path& path, DataPart part);

/// For messages about a folder that lacks a part: "it has a.json, b.txt", or that it has none of
/// that kind.
std::string data_files_text(const std::filesystem::path& folder);

}  // namespace graft::text
