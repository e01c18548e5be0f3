// Which graft this is, and how it was built. Filled in by the build, see version.cpp.in.
#pragma once

namespace graft::cli {

/// "0.1.0".
extern const char* const version;
/// Compiler and kind of build, e.g. "gcc 12.2.0, release, static libraries".
extern const char* const build;

}  // namespace graft::cli
