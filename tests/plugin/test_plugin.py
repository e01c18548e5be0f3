"""A kernel plug-in built outside the tree against the installed headers, by a compiler alone.

    test_plugin.py MESON BUILD
"""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import unittest_main  # noqa: E402
from installed import Installed, run  # noqa: E402

PLUGIN = (HERE / "fill.cpp").read_text(encoding="utf-8")
GOOD_KERNEL = "sizeof(graft::FillArgs), fill_f32"
# What host.cpp prints after the first line: the value 7 filled by graft's own kernels alone, and
# with the plug-in in front of them.
OWN = ["7", "7", "7"]
MINE = ["1007", "7", "7"]


class Plugin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.graft = Installed(*sys.argv[1:3])
        cls.addClassCleanup(cls.graft.close)
        cls.host = cls.graft.compile(
            HERE / "host.cpp", cls.graft.root / "host", *cls.graft.flags("--cflags", "--libs", "graft")
        )

    def open(self, source):
        """(first line, filled values) of the host program with a plug-in made from `source`."""
        folder = self.graft.root / self.id()
        folder.mkdir()
        (folder / "plugin.cpp").write_text(source, encoding="utf-8")
        library = self.graft.compile(
            folder / "plugin.cpp", folder / "plugin.so", "-shared", "-fPIC",
            *self.graft.flags("--cflags", "graft"),
        )
        return self.host_with(library)

    def host_with(self, library):
        done = run(self.host, library)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        first, *values = done.stdout.splitlines()
        return first, values

    def edited(self, old, new):
        self.assertIn(old, PLUGIN)
        return PLUGIN.replace(old, new)

    def with_second_kernel(self, call):
        """The plug-in with another add_kernel call behind its good one."""
        return self.edited("  return GRAFT_PLUGIN_ABI;", f"  {call}\n  return GRAFT_PLUGIN_ABI;")

    def test_its_kernel_is_asked_first_and_falls_through_where_it_says_unsupported(self):
        self.assertEqual(self.open(PLUGIN), ("loaded", MINE))

    def test_another_abi_version_is_refused_and_nothing_is_added(self):
        source = self.edited("return GRAFT_PLUGIN_ABI;", "return GRAFT_PLUGIN_ABI + 1;")
        first, values = self.open(source)
        self.assertRegex(first, r"ConfigError: plug-in .*: built for plug-in ABI 2, this graft has 1")
        self.assertEqual(values, OWN)

    def test_another_size_of_the_arguments_is_refused_and_nothing_is_added(self):
        call = 'api->add_kernel(api->registration, "copy", 0, 8, fill_f32, "short");'
        first, values = self.open(self.with_second_kernel(call))
        self.assertRegex(first, r"ConfigError: .*slot copy takes \d+ bytes of arguments, "
                                r"kernel short was built for 8")
        self.assertEqual(values, OWN)

    def test_an_unknown_slot_is_refused_with_the_nearest_name_and_nothing_is_added(self):
        call = f'api->add_kernel(api->registration, "fil", 0, {GOOD_KERNEL}, "lost");'
        first, values = self.open(self.with_second_kernel(call))
        self.assertRegex(first, r"ConfigError: .*no slot is called 'fil' \(did you mean 'fill'\?\)")
        self.assertEqual(values, OWN)

    def test_an_unknown_device_kind_is_refused(self):
        first, values = self.open(self.edited('"fill", 0,', '"fill", 9,'))
        self.assertRegex(first, r"ConfigError: .*kernel mine names device kind 9")
        self.assertEqual(values, OWN)

    def test_a_library_that_is_no_plug_in_is_refused(self):
        first, values = self.open(self.edited("int graft_plugin(", "int something_else("))
        self.assertRegex(first, r"ConfigError: .*exports no function graft_plugin")
        self.assertEqual(values, OWN)

    def test_a_missing_file_is_an_io_error_that_names_it(self):
        first, _ = self.host_with(self.graft.root / "nothing.so")
        self.assertRegex(first, r"IoError: .*nothing\.so")


if __name__ == "__main__":
    unittest_main.main()
