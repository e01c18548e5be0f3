// graft doctor: what this build and this machine can do, tried out.

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/machine.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/self_check.h"
#include "graft/cli/terminal.h"
#include "graft/cli/version.h"
#include "graft/tensor/isa.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/plugin.h"
#include "graft/tensor/slot.h"

namespace graft::cli {
namespace {

struct Findings {
  Machine machine = this_machine();
  std::string isa;
  int64_t cpu_kernels = 0;
  int64_t cuda_kernels = 0;
  double gflops = 0;
  std::vector<CheckResult> checks;
};

int64_t count_kernels(DeviceKind kind) {
  int64_t count = 0;
  for (const SlotBase* slot : registry().slots())
    count += static_cast<int64_t>(slot->kernels(kind).size());
  return count;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string device_text(const Findings& findings) {
  std::string text = "cpu (" + counted(findings.cpu_kernels, "kernel") + ")";
  if (findings.cuda_kernels > 0)
    text += ", cuda (" + counted(findings.cuda_kernels, "kernel") + ")";
  return text;
}

void print(const Findings& findings) {
  const Terminal terminal = terminal_of(1);
  const Machine& machine = findings.machine;
  Panel panel("graft doctor");
  panel.row("version", std::string(version) + " (" + build + ")");
  panel.row("system", machine.system);
  panel.row("cpu", machine.cpu);
  panel.row("features", machine.features.empty() ? "none known" : joined(machine.features));
  panel.row("kernels", findings.isa + " of " + joined(available_isas()));
  panel.row("threads",
            std::to_string(thread_count()) + " of " + counted(machine.processors, "processor"));
  panel.row("memory",
            byte_text(machine.memory) + ", " + byte_text(machine.memory_available) + " available");
  panel.row("devices", device_text(findings));
  panel.row("matmul", number_text(findings.gflops, 3) + " GFLOP/s in f32");
  std::cout << panel.text(terminal) << "\n"
            << terminal.bold("Environments") << " (each was tried on a tiny model just now)\n";
  for (const CheckResult& check : findings.checks) {
    const std::string name = check.name + std::string(11 - check.name.size(), ' ');
    std::cout << "  " << (check.works ? terminal.green("works") : terminal.red("fails")) << "  "
              << name << check.detail << "\n";
  }
}

io::Json to_json(const Findings& findings) {
  const Machine& machine = findings.machine;
  io::Json json;
  json["version"] = version;
  json["build"] = build;
  json["system"] = machine.system;
  json["cpu"] = machine.cpu;
  json["features"] = machine.features;
  json["isa"] = findings.isa;
  json["threads"] = thread_count();
  json["processors"] = machine.processors;
  json["memory_bytes"] = machine.memory;
  json["memory_available_bytes"] = machine.memory_available;
  json["kernels"] = {{"cpu", findings.cpu_kernels}, {"cuda", findings.cuda_kernels}};
  json["matmul_gflops"] = findings.gflops;
  for (const CheckResult& check : findings.checks)
    json["environments"][check.name] = {{"works", check.works}, {"detail", check.detail}};
  return json;
}

}  // namespace

ExitCode run_doctor(Arguments arguments) {
  bool as_json = false;
  std::string isa = "auto";
  std::vector<std::string> plugins;
  Flags flags("doctor",
              "Checks what this build and this machine can do: loads, configures, trains and runs "
              "a tiny model. Ends with exit code 1 if one of them fails.");
  add_isa_flag(flags, isa);
  flags.add("plugin", plugins, "FILE.so", "a kernel plug-in to open; may be repeated");
  flags.add("json", as_json, "print one JSON object");
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  apply_isa(isa);
  for (const std::string& plugin : plugins)
    load_plugin(plugin);
  Findings findings;
  findings.isa = isa == "auto" ? preferred_isa() : isa;
  findings.cpu_kernels = count_kernels(DeviceKind::cpu);
  findings.cuda_kernels = count_kernels(DeviceKind::cuda);
  findings.gflops = matmul_gflops();
  findings.checks = run_self_checks();
  if (as_json)
    std::cout << io::to_text(to_json(findings)) << "\n";
  else
    print(findings);
  const bool all_work = std::ranges::all_of(findings.checks, &CheckResult::works);
  return all_work ? ExitCode::done : ExitCode::internal;
}

}  // namespace graft::cli
