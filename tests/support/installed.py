"""graft as somebody else sees it: installed into a folder of its own, used through pkg-config."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path


def run(*command, **options):
    """The finished process; its output is text. Does not raise where it failed."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )


class Installed:
    """An installation of the build folder, removed by close(). Nothing outside it is written."""

    def __init__(self, meson, build):
        self._folder = tempfile.TemporaryDirectory(prefix="graft-installed-")
        self.root = Path(self._folder.name)
        done = run(meson, "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", self.root)
        if done.returncode != 0:
            raise RuntimeError(f"meson install failed:\n{done.stdout}{done.stderr}")
        packages = next(self.root.rglob("graft.pc")).parent
        self._environment = {**os.environ, "PKG_CONFIG_PATH": str(packages)}
        self.prefix = Path(*self.flags("--variable=prefix", "graft")).resolve()

    def close(self):
        self._folder.cleanup()

    def flags(self, *arguments):
        """What pkg-config prints, as a list."""
        done = run("pkg-config", *arguments, env=self._environment)
        if done.returncode != 0:
            raise RuntimeError(f"pkg-config failed:\n{done.stderr}")
        return shlex.split(done.stdout)

    def compile(self, source, output, *flags):
        """Compiles one file with warnings as errors and raises with the compiler's words."""
        done = run("g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", source, "-o", output, *flags)
        if done.returncode != 0:
            raise RuntimeError(f"{source} does not compile:\n{done.stderr}")
        return output
