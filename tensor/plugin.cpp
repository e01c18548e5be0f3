#include "graft/tensor/plugin.h"

#include <algorithm>
#include <dlfcn.h>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "graft/tensor/error.h"
#include "graft/tensor/slot.h"

namespace graft {
namespace {

/// One add_kernel call, kept until the whole plug-in is known to be good.
struct Request {
  std::string slot;
  int device_kind;
  size_t args_size;
  ErasedKernel kernel;
  const char* name;
};

// A plug-in's kernel is declared with int32_t, so that C can write one; the enum has that type.
static_assert(sizeof(KernelStatus) == sizeof(int32_t));

void add_request(void* registration, const char* slot, int device_kind, size_t args_size,
                 int32_t (*kernel)(const void*), const char* name) {
  static_cast<std::vector<Request>*>(registration)
      ->push_back({slot, device_kind, args_size, reinterpret_cast<ErasedKernel>(kernel), name});
}

void check(const std::string& path, const Request& request) {
  GRAFT_CHECK(request.device_kind >= 0 && request.device_kind < device_kind_count, ConfigError,
              "plug-in ", path, ": kernel ", request.name, " names device kind ",
              request.device_kind);
  const SlotBase* slot = registry().find(request.slot);
  if (slot == nullptr) {
    std::vector<std::string> names;
    for (const SlotBase* known : registry().slots())
      names.emplace_back(known->name());
    throw ConfigError(concat("plug-in ", path, ": no slot is called '", request.slot, "'",
                             did_you_mean(request.slot, names)));
  }
  GRAFT_CHECK(slot->args_size() == request.args_size, ConfigError, "plug-in ", path, ": slot ",
              request.slot, " takes ", slot->args_size(), " bytes of arguments, kernel ",
              request.name, " was built for ", request.args_size,
              "; build it against this graft's headers");
}

/// Throws ConfigError where a slot would get more kernels than it holds.
void check_room(const std::string& path, const std::vector<Request>& requests) {
  for (const Request& request : requests) {
    const auto same = std::ranges::count_if(requests, [&](const Request& other) {
      return other.slot == request.slot && other.device_kind == request.device_kind;
    });
    const auto kind = static_cast<DeviceKind>(request.device_kind);
    const auto there = static_cast<int64_t>(registry().find(request.slot)->kernels(kind).size());
    GRAFT_CHECK(there + same <= SlotBase::max_kernels, ConfigError, "plug-in ", path, ": ", same,
                " kernels for slot ", request.slot, ", which has ", there, " of at most ",
                SlotBase::max_kernels);
  }
}

}  // namespace

void load_plugin(const std::string& path) {
  // A bare name would be searched for in the system's library folders.
  const std::string file = std::filesystem::absolute(path).string();
  std::unique_ptr<void, int (*)(void*)> library(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL),
                                                      [](void* handle) { return dlclose(handle); });
  GRAFT_CHECK(library != nullptr, IoError, "plug-in ", path, ": ", dlerror());
  const auto entry = reinterpret_cast<graft_plugin_function>(dlsym(library.get(), "graft_plugin"));
  GRAFT_CHECK(entry != nullptr, ConfigError, "plug-in ", path,
              ": exports no function graft_plugin");

  std::vector<Request> requests;
  const graft_plugin_api api{GRAFT_PLUGIN_ABI, sizeof(graft_plugin_api), &requests, add_request};
  const int version = entry(&api);
  GRAFT_CHECK(version == GRAFT_PLUGIN_ABI, ConfigError, "plug-in ", path,
              ": built for plug-in ABI ", version, ", this graft has ", GRAFT_PLUGIN_ABI,
              "; build it again");
  for (const Request& request : requests)
    check(path, request);
  check_room(path, requests);
  for (const Request& request : requests)
    registry()
        .find(request.slot)
        ->add(static_cast<DeviceKind>(request.device_kind), {request.kernel, request.name});
  std::ignore = library.release();  // the kernels stay in use until the process ends
}

}  // namespace graft
