"""function(): files of any shape arrive byte-exact, arguments too, and the rest is refused by name."""

import functools
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import CASTestCase

from cas_delivery import function

MODULE = (
    "# coding: latin-1\r\n"
    'NAME = "M\xfcller \\\\$5 `date` $HOME"\r\n'
    "from .helper import double\r\n"
    "import json, sys\r\n"
    "def main(*words, **named):\r\n"
    "\tprint(json.dumps([NAME, double(2), words, named, __name__, sys.argv], sort_keys=True))\r\n"
).encode("latin-1")

NASTY = [
    "$(HOME) $HOME ${HOME} $$(HOME) `date` \"$5\" '\\n' \\\\ \n\r\t\x00\x7f \ud800 \u2028 é 漢 key=value",
    "--flag",
    "",
    "a=1",
    True,
    None,
    -1.5,
    10**30,
    [1, ["$(X)"], {}],
    {"$(k)": {"é": []}},
]


class FunctionTests(CASTestCase):
    def deliver(self, func, *args, **words):
        return function(func, *args, to="team/function", python=sys.executable, quiet=True, **words)

    def test_a_module_of_a_package_goes_with_its_neighbours_byte_by_byte(self):
        self.write("pkg/__init__.py", "")
        self.write("pkg/sub/train.py", MODULE)  # pkg/sub has no __init__.py: a namespace
        self.write("pkg/sub/helper.py", "def double(x):\n    return 2 * x")
        module = self.import_new("pkg.sub.train")
        sent = self.deliver(module.main, NASTY, {"named": NASTY, "été": "$(X)"})
        self.assertEqual(sent.path, "pkg/sub/train.py")
        self.assertEqual((self.fetch(sent.snapshot.reference) / sent.path).read_bytes(), MODULE)
        self.assertFalse([word for word in sent.command if "$(" in word])
        name, two, words, named, module_name, argv = json.loads(self.run_in_pod(sent))
        self.assertEqual((name, two), ("Müller $5 `date` $HOME".replace("$5", "\\$5"), 4))
        self.assertEqual((words, named), (NASTY, {"named": NASTY, "été": "$(X)"}))
        self.assertEqual((module_name, argv), ("pkg.sub.train", ["pkg.sub.train"]))

    def test_a_larger_root_keeps_the_way_to_the_module(self):
        self.write("src/lib/job.py", "import os\ndef main():\n    print(os.listdir('.'))\n")
        self.write("configs/base.yaml", "lr: 1\n")
        sys.path.insert(0, str(self.work / "src"))
        self.addCleanup(sys.path.remove, str(self.work / "src"))
        module = self.import_new("lib.job")
        sent = self.deliver(module.main, root=self.work)
        self.assertEqual(sent.path, "src/lib/job.py")
        self.assertIn("configs", self.run_in_pod(sent))
        with self.refused("is not below root"):
            self.deliver(module.main, root=self.folder / "elsewhere")

    def test_a_script_runs_without_its_main_part(self):
        for name, way in (
            ("train-me.py", ["train-me.py"]),
            ("json.py", ["-P", "json.py"]),
            ("job.py", ["-m", "job"]),
            ("package/__main__.py", ["-m", "package"]),
        ):
            if sys.version_info < (3, 11) and way[0] == "-P":
                continue
            with self.subTest(name):
                folder = f"case{len(way)}{Path(name).stem}"
                self.write(
                    f"{folder}/{name}",
                    "import sys\nimport cas_delivery\n"
                    "def train(rate: float, *, steps=1):\n    print('trained', rate, steps)\n"
                    "class Model:\n    @staticmethod\n    def fit(x):\n        print('fit', x)\n"
                    "    @classmethod\n    def make(cls, x):\n        print(cls.__name__, x)\n"
                    "async def later():\n    print('later')\n"
                    "if __name__ == '__main__':\n"
                    "    for f, a in ((train, [0.1]), (Model.fit, [1]), (Model.make, [2]), (later, [])):\n"
                    "        sent = cas_delivery.function(f, a, to='team/script', quiet=True,\n"
                    "                                     python=sys.executable)\n"
                    "        print(repr((sent.snapshot.reference, sent.command)))\n",
                )
                done = subprocess.run(
                    [sys.executable, *way], cwd=folder, capture_output=True, text=True
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                got = []
                for line in done.stdout.splitlines():
                    reference, command = eval(line)
                    place = self.fetch(reference)
                    ran = subprocess.run(command, cwd=place, capture_output=True, text=True)
                    self.assertEqual(ran.returncode, 0, ran.stderr)
                    got.append(ran.stdout)
                self.assertEqual(got, ["trained 0.1 1\n", "fit 1\n", "Model 2\n", "later\n"])

    def test_a_launcher_stands_before_python(self):
        self.write("mod_launched.py", "def main():\n    print('ran')\n")
        module = self.import_new("mod_launched")
        sent = self.deliver(module.main, launcher=("torchrun", "--no-python"))
        self.assertEqual(sent.command[:4], ("torchrun", "--no-python", sys.executable, "-c"))

    def test_what_can_not_be_found_by_name_is_refused_by_name(self):
        self.write(
            "mod_odd.py",
            "import functools\nname = lambda: 1\ndef outer(x):\n    def inner():\n        return x\n"
            "    return inner\nclass Job:\n    def run(self): pass\n    def __call__(self): pass\n"
            "def steps():\n    yield 1\ndef plain(a): pass\n",
        )
        module = self.import_new("mod_odd")
        cases = (
            (module.name, "a lambda (line 2 of"),
            (module.outer(1), "made inside 'outer' and holds its 'x'"),
            (module.Job().run, "'Job.run' is bound to a live object, a Job"),
            (module.Job(), "'Job' is a live object"),
            (module.Job, "'Job' is a class, not a function"),
            (module.steps, "'steps' is a generator"),
            (functools.partial(module.plain, 1), "holds arguments of its own"),
            (len, "'len' is no Python function"),
            (json.dumps, "belongs to an installed package"),
        )
        for func, text in cases:
            with self.subTest(text), self.refused(text):
                self.deliver(func) if func is not json.dumps else self.deliver(func, [1])
        plain = module.plain
        module.plain = lambda a: None
        with self.refused("'plain' is not what mod_odd.plain names now"):
            self.deliver(plain, [1])

    def test_arguments_that_would_change_are_refused_by_name(self):
        self.write("mod_arguments.py", "def main(a, b=None): pass\n")
        main = self.import_new("mod_arguments").main
        for bad in (
            (1, 2),
            {1: 2},
            float("nan"),
            float("inf"),
            object(),
            b"x",
            {"a": [set()]},
            Path(),
        ):
            with self.subTest(bad), self.refused("argument 'b' of 'main'", type(bad).__name__):
                self.deliver(main, [1], {"b": bad})
        with self.refused("argument 1 of 'main' is too long for a command"):
            self.deliver(main, ["x" * 140_000])
        with self.refused("'main' can not be called so: missing a required argument: 'a'"):
            self.deliver(main)
        with self.refused("args is a list"):
            self.deliver(main, {"a": 1})

    def test_a_file_that_would_not_arrive_is_refused(self):
        self.write(".gitignore", "mod_ignored.py\n")
        self.write("mod_ignored.py", "def main(): print('here')\n")
        main = self.import_new("mod_ignored").main
        with self.refused(
            "'mod_ignored.py' with the function was left out", "include=['/mod_ignored.py']"
        ):
            self.deliver(main)
        self.assertEqual(self.run_in_pod(self.deliver(main, include=["/mod_ignored.py"])), "here\n")
        self.write("mod_ignored.py", "def main(:\n")
        with self.refused("mod_ignored.py, line 1", "the pod could not read it"):
            self.deliver(main)

    def test_a_home_is_not_pushed_by_itself(self):
        code = (
            "import cas_delivery\ndef main(): pass\nif __name__ == '__main__':\n"
            "    cas_delivery.function(main, to='team/home')\n"
        )
        self.write("script.py", code)
        done = subprocess.run(
            [sys.executable, "script.py"],
            capture_output=True,
            text=True,
            env={**__import__("os").environ, "HOME": str(self.work)},
        )
        self.assertIn("all of that would be pushed", done.stderr)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertIn("'main' was typed at a prompt", done.stderr)

    def test_the_temporary_directory_is_not_pushed_by_itself(self):
        before, tempfile.tempdir = tempfile.tempdir, str(self.work)
        self.addCleanup(setattr, tempfile, "tempdir", before)
        self.write("mod_temporary.py", "def main(): pass\n")
        with self.refused("all of that would be pushed"):
            self.deliver(self.import_new("mod_temporary").main)


if __name__ == "__main__":
    unittest.main()
