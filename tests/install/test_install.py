"""What `meson install` installs is all that a program outside the tree needs.

    test_install.py MESON BUILD
"""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "support"))
import unittest_main  # noqa: E402
from installed import Installed, run  # noqa: E402


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.graft = Installed(*sys.argv[1:3])
        cls.addClassCleanup(cls.graft.close)

    def headers(self):
        include = self.graft.prefix / "include"
        return sorted(str(path.relative_to(include)) for path in include.rglob("*.h"))

    def test_a_program_built_through_pkg_config_runs(self):
        flags = self.graft.flags("--cflags", "--libs", "graft")
        program = self.graft.compile(HERE / "program.cpp", self.graft.root / "program", *flags)
        done = run(program)
        self.assertEqual((done.returncode, done.stdout), (0, "2\n"), done.stderr)

    def test_the_command_is_installed_and_runs(self):
        done = run(self.graft.prefix / "bin" / "graft", "--version")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(self.graft.flags("--modversion", "graft")[0], done.stdout)

    def test_the_installed_headers_include_nothing_that_is_not_installed(self):
        source = self.graft.root / "headers.cpp"
        lines = [f'#include "{header}"\n' for header in self.headers()]
        source.write_text("".join(lines), encoding="utf-8")
        flags = self.graft.flags("--cflags", "graft")
        self.graft.compile(source, self.graft.root / "headers.o", "-c", *flags)

    def test_the_program_in_the_readme_compiles(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        block = text.split("```cpp\n")[1].split("```")[0]
        includes, body = block.split("\n\n", 1)
        source = self.graft.root / "readme.cpp"
        source.write_text(
            f"{includes}\nusing namespace graft;\n"
            f"void tune(const std::vector<text::Sample>& samples) {{\n{body}}}\n",
            encoding="utf-8",
        )
        flags = self.graft.flags("--cflags", "graft")
        self.graft.compile(source, self.graft.root / "readme.o", "-c", *flags)

    def test_the_kernels_headers_stay_inside(self):
        headers = self.headers()
        self.assertIn("graft/tensor/tensor.h", headers)
        self.assertEqual([name for name in headers if name.count("/") != 2], [])

    def test_the_package_files_name_no_folder_of_the_build(self):
        for package in self.graft.root.rglob("*.pc"):
            with self.subTest(package.name):
                self.assertNotIn(str(ROOT), package.read_text(encoding="utf-8"))

    def test_the_core_asks_for_no_other_package(self):
        self.assertEqual(self.graft.flags("--print-requires", "--print-requires-private", "graft"), [])


if __name__ == "__main__":
    unittest_main.main()
