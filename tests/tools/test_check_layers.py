"""tools/check_layers: the tree passes, and each planted fault turns it red."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import unittest_main  # noqa: E402


def check(root):
    """(exit code, output) of check_layers on a tree."""
    done = subprocess.run(
        [ROOT / "tools" / "check_layers", root], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


class CheckLayers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        self.plant("tensor/tensor.h", "#include <cstdint>")
        self.plant("io/gguf.cpp", '#include <nlohmann/json.hpp>\n#include "graft/tensor/tensor.h"')

    def plant(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def expect_fault(self, *parts):
        code, output = check(self.tree)
        self.assertEqual(code, 1, output)
        for part in parts:
            self.assertIn(part, output)

    def test_the_tree_of_this_project_passes(self):
        code, output = check(ROOT)
        self.assertEqual(code, 0, output)

    def test_a_clean_tree_passes(self):
        code, output = check(self.tree)
        self.assertEqual(code, 0, output)
        self.assertIn("2 files, 0 faults", output)

    def test_an_include_that_points_up_is_a_fault(self):
        self.plant("tensor/shape.cpp", '\n#include "graft/cli/flags.h"')
        self.expect_fault("tensor/shape.cpp:2: graft/cli/flags.h", "tensor may not include cli")

    def test_an_include_across_one_level_is_a_fault(self):
        self.plant("peft/lora.cpp", '#include "graft/models/llama.h"')
        self.expect_fault("peft may not include models")

    def test_a_file_in_a_subfolder_belongs_to_its_top_folder(self):
        self.plant("tensor/cpu/norm.cpp", '#  include "graft/autograd/variable.h"')
        self.expect_fault("tensor may not include autograd")

    def test_nobody_includes_cuda(self):
        self.plant("train/trainer.cpp", '#include "graft/cuda/device.h"')
        self.expect_fault("train may not include cuda")

    def test_only_cuda_includes_cuda_headers(self):
        self.plant("quant/nf4.cpp", "#include <cuda_runtime.h>")
        self.expect_fault("only cuda/ includes CUDA headers")

    def test_third_party_headers_are_refused_in_headers(self):
        for third in ["<Eigen/Dense>", '"nlohmann/json.hpp"', "<CLI/CLI.hpp>", "<pcre2.h>"]:
            with self.subTest(third):
                self.plant("io/json.h", f"#include {third}")
                self.expect_fault("io/json.h:1", "third-party headers are included by .cpp files")

    def test_forward_declarations_of_json_are_allowed_in_headers(self):
        self.plant("io/json.h", "#include <nlohmann/json_fwd.hpp>")
        self.assertEqual(check(self.tree)[0], 0)

    def test_doctest_is_allowed_in_headers_of_tests_only(self):
        self.plant("tests/support/test.h", '#include "doctest/doctest.h"')
        self.assertEqual(check(self.tree)[0], 0)
        self.plant("nn/module.h", '#include "doctest/doctest.h"')
        self.expect_fault("nn/module.h:1")

    def test_other_spellings_of_project_headers_are_refused(self):
        for spelling in ['"tensor.h"', '"tensor/tensor.h"', "<graft/tensor/tensor.h>"]:
            with self.subTest(spelling):
                self.plant("io/json.cpp", f"#include {spelling}")
                self.expect_fault('project headers are spelled "graft/<folder>/<file>.h"')

    def test_climbing_out_of_a_folder_is_refused(self):
        self.plant("tensor/shape.cpp", '#include "graft/tensor/../cli/flags.h"')
        self.expect_fault("does not climb")

    def test_a_folder_the_table_does_not_know_is_a_fault(self):
        self.plant("utils/misc.h", "#include <vector>")
        self.expect_fault("utils/misc.h:1: no folder 'utils'")

    def test_an_empty_tree_is_not_a_pass(self):
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(check(empty)[0], 1)


if __name__ == "__main__":
    unittest_main.main()
