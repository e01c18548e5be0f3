// Kernel slots: the seam between operations and the kernels that carry them out.
//
// Each operation owns one named slot. A kernel takes one plain struct of TensorViews and scalars
// and says done or unsupported; a slot asks the kernel that was registered last first and falls
// through to the general one. Slots are filled before they are first called and are constant
// afterwards. A slot is called once per operation, never per element.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "graft/tensor/device.h"

namespace graft {

/// What a kernel says. `unsupported` must leave everything untouched. Part of the plug-in ABI.
enum class KernelStatus : int32_t { done = 0, unsupported = 1 };

/// A kernel with its argument struct erased.
using ErasedKernel = KernelStatus (*)(const void* args);

/// The part of a slot that does not depend on its argument struct.
class SlotBase {
 public:
  static constexpr int max_kernels = 8;

  constexpr SlotBase(const char* name, size_t args_size) : name_(name), args_size_(args_size) {}
  SlotBase(const SlotBase&) = delete;
  SlotBase& operator=(const SlotBase&) = delete;

  std::string_view name() const { return name_; }
  /// sizeof of the argument struct; a plug-in must have been compiled with the same.
  size_t args_size() const { return args_size_; }

  struct Kernel {
    ErasedKernel run = nullptr;
    const char* name = nullptr;
  };
  /// The kernels of a device kind, the one asked first last.
  std::vector<Kernel> kernels(DeviceKind kind) const;
  /// Puts a kernel in front of those already there. Throws ConfigError beyond max_kernels.
  void add(DeviceKind kind, Kernel kernel);
  /// Asks the kernel that was asked last first from now on; the others keep their order. For tests
  /// and benches, while no operation runs.
  void rotate(DeviceKind kind);

 protected:
  /// Throws DeviceError where no kernel of the device takes the arguments.
  void call(Device device, const void* args) const;

 private:
  const char* name_;
  size_t args_size_;
  std::array<std::array<Kernel, max_kernels>, device_kind_count> kernels_{};
  std::array<int, device_kind_count> counts_{};
};

/// A slot whose kernels take `const Args&`.
template <class Args>
class Slot : public SlotBase {
 public:
  constexpr explicit Slot(const char* name) : SlotBase(name, sizeof(Args)) {}

  void operator()(Device device, const Args& args) const { call(device, &args); }
};

/// All slots by name. One per process; see `registry()`.
class Registry {
 public:
  /// Adds a kernel in front of those already there. The kernel is a template argument, so that it
  /// is called with its own type: `r.add<rms_norm_portable>(rms_norm_slot, DeviceKind::cpu)`.
  template <auto kernel, class Args>
  void add(Slot<Args>& slot, DeviceKind kind, const char* name = "portable") {
    declare(slot);
    slot.add(kind, {[](const void* args) -> KernelStatus {
                      return kernel(*static_cast<const Args*>(args));
                    },
                    name});
  }
  /// The slot of that name, or nullptr.
  SlotBase* find(std::string_view name) const;
  const std::vector<SlotBase*>& slots() const { return slots_; }

 private:
  void declare(SlotBase& slot);
  std::vector<SlotBase*> slots_;
};

/// Adds the kernels graft is built with. Defined in the highest folder that has some, quant: a list
/// in one place, since registrars of static objects get lost when a library is linked statically.
void register_built_in_kernels(Registry& registry);

/// The process's slots, with the built-in kernels registered.
Registry& registry();

}  // namespace graft
