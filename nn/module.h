// Module: a tree of layers whose members register themselves by being declared.
//
//   class Attention final : public Module {
//     Child<LinearLike> q_proj_{*this, "q_proj", make_linear(…)};
//   };
//
// State dict, freezing, loading, injection and printing all walk that one list. Paths join names
// with dots and equal the checkpoint's keys: "model.layers.0.self_attn.q_proj". A Module is neither
// copied nor moved. Forwards are const; concurrent forwards are safe, changing the tree while one
// runs is not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/autograd/variable.h"
#include "graft/nn/override.h"

namespace graft::nn {

class Module;

/// A named member of a Module. Registers itself with its owner when constructed.
class Member {
 public:
  /// An empty name adds no level to the path.
  Member(Module& owner, std::string_view name);
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  /// Leaves its owner, which is still there.
  virtual ~Member();

  const std::string& name() const { return name_; }
  /// The child module, where this member is one.
  virtual Module* module() { return nullptr; }
  /// The dense variable, where this member is a parameter that is held as one.
  virtual Variable* variable() { return nullptr; }
  /// True for members that hold numbers of a checkpoint, dense or not.
  virtual bool is_parameter() const { return false; }
  /// Shape of a parameter.
  virtual Shape shape() const { return {}; }
  /// Puts numbers into a parameter. Throws ShapeError where the shapes differ.
  virtual void load(Tensor value);
  /// The numbers of a parameter.
  virtual Tensor value() const { return {}; }
  /// Identity of a parameter's storage: equal for members that are tied to each other.
  virtual const void* identity() const { return this; }
  /// What adapters put in the place of a parameter; nullptr where this is none. Members that are
  /// tied to each other are overridden one by one.
  virtual Overrides* overrides() { return nullptr; }

 private:
  Module& owner_;
  std::string name_;
};

class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  /// In order of declaration.
  const std::vector<Member*>& members() const { return members_; }
  /// True where a walk for injection targets does not look inside.
  virtual bool is_opaque() const { return false; }
  /// Brings the layer's own frozen weights into the form that its products read fastest; the
  /// numbers stay the same.
  virtual void pack() {}

 private:
  friend class Member;
  std::vector<Member*> members_;
};

/// A child module that can be replaced: the seam at which layers are swapped.
template <class T>
class Child final : public Member {
 public:
  Child(Module& owner, std::string_view name, std::unique_ptr<T> module)
      : Member(owner, name), module_(std::move(module)) {}

  T* operator->() const { return module_.get(); }
  T& operator*() const { return *module_; }
  Module* module() override { return module_.get(); }

  /// Puts wrap(old module) in the old one's place. If `wrap` throws, the child is left empty, so it
  /// checks before it takes ownership.
  void replace(const std::function<std::unique_ptr<T>(std::unique_ptr<T>)>& wrap) {
    module_ = wrap(std::move(module_));
  }

 private:
  std::unique_ptr<T> module_;
};

/// Numbered children: "layers.0", "layers.1", …
template <class T>
class ChildList {
 public:
  ChildList(Module& owner, std::string_view name) : owner_(owner), name_(name) {}
  /// `count` children, made by make(i).
  ChildList(Module& owner, std::string_view name, int64_t count,
            const std::function<std::unique_ptr<T>(int64_t i)>& make)
      : ChildList(owner, name) {
    for (int64_t i = 0; i < count; ++i)
      append(make(i));
  }
  ChildList(const ChildList&) = delete;
  ChildList& operator=(const ChildList&) = delete;

  void append(std::unique_ptr<T> module) {
    const std::string name = name_ + "." + std::to_string(children_.size());
    children_.push_back(std::make_unique<Child<T>>(owner_, name, std::move(module)));
  }
  size_t size() const { return children_.size(); }
  T& operator[](size_t i) const { return **children_[i]; }

 private:
  Module& owner_;
  std::string name_;
  std::vector<std::unique_ptr<Child<T>>> children_;
};

/// A dense parameter: norm weight, bias, adapter matrix. Has no numbers until they are loaded.
class Parameter final : public Member {
 public:
  Parameter(Module& owner, std::string_view name, Shape shape)
      : Member(owner, name), shape_(shape), variable_(Tensor()) {}

  const Variable& operator*() const { return variable_; }
  const Variable* operator->() const { return &variable_; }
  /// What a forward computes with: the parameter, or what an adapter of the context puts in its
  /// place, in the parameter's dtype.
  Variable under(const Context& context) const;
  /// The overrides that adapters of the context bring.
  ChosenOverrides overrides_under(const Context& context) const {
    return overrides_.chosen(context);
  }
  Variable* variable() override { return &variable_; }
  bool is_parameter() const override { return true; }
  Shape shape() const override { return shape_; }
  void load(Tensor value) override;
  Tensor value() const override { return variable_.value(); }
  const void* identity() const override { return variable_.id(); }
  Overrides* overrides() override { return &overrides_; }

 private:
  Shape shape_;
  Variable variable_;
  Overrides overrides_;
};

/// Calls visit(path, member) for every member below `root`, parents before their children.
void for_each_member(Module& root,
                     const std::function<void(const std::string& path, Member& member)>& visit);

/// A parameter with its path.
struct NamedMember {
  std::string path;
  Member* member;
};
/// All parameters, in order; tied ones once, under their first path.
std::vector<NamedMember> named_parameters(Module& root);

/// Packs the frozen weights of every layer below `root`. What is packed cannot be trained any more.
void pack(Module& root);

/// Freezes or unfreezes every dense parameter.
void set_requires_grad(Module& root, bool required);

/// The dense parameters that require a gradient, in order, under their paths: what an optimizer
/// takes.
std::vector<NamedVariable> trainable_parameters(Module& root);

/// Number of elements of all parameters, tied ones once.
int64_t count_parameters(Module& root);

}  // namespace graft::nn
