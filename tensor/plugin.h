// Kernel plug-ins: shared libraries that add kernels to slots at run time.
//
// A plug-in is built outside graft, links nothing of it, and exports one function, `graft_plugin`.
// It includes the headers of the slots it fills for their argument structs, and may use everything
// that is inline in them. Its kernels are asked before graft's own and may answer `unsupported`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

/// Changes whenever TensorView, an argument struct's meaning or this interface changes.
#define GRAFT_PLUGIN_ABI 1

extern "C" {

/// What graft hands to a plug-in. Fields are only ever appended.
struct graft_plugin_api {
  uint32_t abi_version;  ///< GRAFT_PLUGIN_ABI of the running graft
  uint32_t struct_size;  ///< sizeof(graft_plugin_api) of the running graft
  void* registration;    ///< to be passed back
  /// Adds a kernel to a slot. `device_kind` is a graft::DeviceKind, `args_size` the sizeof of the
  /// argument struct, `kernel` returns 0 (done) or 1 (unsupported). `name` must outlive the
  /// process.
  void (*add_kernel)(void* registration, const char* slot, int device_kind, size_t args_size,
                     int32_t (*kernel)(const void* args), const char* name);
};

/// What a plug-in exports as `graft_plugin`: adds its kernels and returns the GRAFT_PLUGIN_ABI it
/// was compiled with. Nothing is added where that differs from the running graft's.
typedef int (*graft_plugin_function)(const struct graft_plugin_api* api);
}

namespace graft {

/// Opens a plug-in and adds its kernels: all of them or none. Call before the first operation runs
/// in another thread. Throws IoError where the file cannot be opened, ConfigError where it is no
/// plug-in, was built for another ABI version, or names an unknown slot or another argument size.
void load_plugin(const std::string& path);

}  // namespace graft
