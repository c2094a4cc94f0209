"""Functions of notebook cells, in a real kernel: what they need goes along, the rest is refused by name."""

import ast
import json
import types
import unittest

import nbformat
from nbclient import NotebookClient
from support import CASTestCase
from traitlets.config import Config

DELIVER = """
import cas_delivery as _cas, json as _json, sys as _sys
def _deliver(func, *args, **words):
    try:
        sent = _cas.function(func, *args, to="team/cells", python=_sys.executable, quiet=True, **words)
    except _cas.CASError as error:
        print(_json.dumps({"refused": str(error)}))
    else:
        print(_json.dumps({"reference": sent.snapshot.reference, "command": sent.command, "path": sent.path,
                           "files": sent.snapshot.files}))
"""


class CellTests(CASTestCase):
    def notebook(self, *cells, allow_errors=False):
        """Execute cells, keep the notebook beside them, and return the last line of each `_deliver`."""
        book = nbformat.v4.new_notebook()
        book.cells = [nbformat.v4.new_code_cell(text) for text in (DELIVER, *cells)]
        NotebookClient(
            book,
            timeout=60,
            kernel_name="python3",
            allow_errors=allow_errors,
            config=Config({"KernelManager": {"transport": "ipc"}}),
            resources={"metadata": {"path": str(self.work)}},
        ).execute()
        nbformat.write(book, self.work / "train.ipynb")
        answers = []
        for cell in book.cells:
            text = "".join(
                out.get("text", "") for out in cell.outputs if out.get("name") == "stdout"
            )
            answers += [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return answers

    def ran(self, answer):
        self.assertIn("command", answer, answer.get("refused"))
        snapshot = types.SimpleNamespace(reference=answer["reference"])
        return self.run_in_pod(types.SimpleNamespace(snapshot=snapshot, command=answer["command"]))

    def module(self, answer):
        self.assertIn("path", answer, answer.get("refused"))
        return (self.fetch(answer["reference"]) / answer["path"]).read_text()

    def test_what_a_function_needs_goes_along_byte_by_byte(self):
        self.write("neighbour.py", "def greet(who):\n    return f'hello {who}'\n")
        constants = 'RATE = 0.1  # of learning: "$5", \\n, `x`\nSIZES = [1, 2 * 3]; OTHER = {"a": (RATE, None)}\n'
        classes = (
            "@dataclasses.dataclass\n"
            "class State:\n\tsteps: int = 0\n\tsizes: list = dataclasses.field(default_factory=lambda: list(SIZES))\n\n"
            "\tdef next(self):\n\t\treturn advance(self)\n"
        )
        functions = 'def advance(state):\n    """Text:\n  odd \\\\ indentation"""\n    return state.steps + 1   \n'
        train = (
            "def train(rate=RATE, *, times: int = 2):\n"
            "    # a comment with é and 漢\n"
            "    global counter\n    counter = 0\n"
            "    state = State()\n"
            "    for _ in range(times):\n        state.steps = state.next()\n        counter += 1\n"
            "    print(greet('pod'), rate, state, counter, [n for n in SIZES if n > 1], np.pi, os.sep)\n"
            "    with open(__file__) as file: print(len(file.read()) > 0)"
        )
        answers = self.notebook(
            "import os, dataclasses\nfrom neighbour import greet\n",
            "!true\n%pwd",
            "try:\n    import numpy as np\nexcept ImportError:\n    import math as np\n",
            constants,
            "live = object()  # nobody needs it\nos.environ['LEFT'] = 'out'\n",
            "def advance(state):\n    return -1\n",
            classes + "\nunused = live\n",
            functions,
            train,
            "_deliver(train, [0.5], kwargs={'times': 3})",
        )
        text = self.module(answers[0])
        for exact in (constants.splitlines(True)[0], classes, functions, train):
            self.assertIn(exact, text)
        self.assertIn("SIZES = [1, 2 * 3]\n", text)
        for absent in ("live = ", "get_ipython", "unused", "_deliver", "return -1", "OTHER"):
            self.assertNotIn(absent, text)
        ast.parse(text)
        self.assertEqual(
            self.ran(answers[0]),
            "hello pod 0.5 State(steps=3, sizes=[1, 6]) 3 [6] 3.141592653589793 /\nTrue\n",
        )
        left = sorted(each.name for each in self.work.iterdir())
        self.assertEqual(
            [each for each in left if each != "__pycache__"], ["neighbour.py", "train.ipynb"]
        )

    def test_the_latest_definitions_in_an_order_that_runs(self):
        answers = self.notebook(
            "from __future__ import annotations\n",
            "def helper():\n    return Base().name\n",
            "class Base:\n    name = 'old'\n",
            "class Derived(Base):\n    pass\n",
            "class Base:\n    name = 'new'\n",
            "def main(hint: Unknown = None):\n    print(helper(), Derived().name)\n",
            "_deliver(main)",
        )
        # Derived was made of the old Base; a pod has only the new one, and Base stands before it there.
        self.assertEqual(self.ran(answers[0]), "new new\n")
        self.assertIn("from __future__ import annotations", self.module(answers[0]))

    def test_what_can_not_be_carried_is_refused_by_name(self):
        self.write("tools.py", "def tool():\n    return 1\n")
        cases = (
            ("data = open('tools.py')\ndef f(): return data\n", "'f' needs 'data', a live object"),
            (
                "text = 'a'.upper()\ndef f(): return text\n",
                "'f' needs 'text', a live object (str) made in cell",
            ),
            (
                "double = lambda x: 2 * x\ndef f(): return double(1)\n",
                "'f' needs 'double', a lambda",
            ),
            (
                "from tools import *\ndef f(): return tool()\n",
                "'f' needs 'tool', which may come from `from tools import *`",
            ),
            ("def f(): return nowhere\n", "'f' needs 'nowhere', which no cell defines"),
            ("def f():\n    !ls\n", "which runs a magic", "holds a magic"),
            ("def f():\n    display(1)\n", "'f' needs 'display': IPython's own"),
            ("def f(): return In\n", "'f' needs 'In': IPython's own"),
            (
                "CONFIG = {'lr': 1}\nCONFIG['lr'] = 2\ndef f(): return CONFIG\n",
                "'f' needs 'CONFIG', which is no longer what cell",
            ),
            ("N = 1\nN += 1\ndef f(): return N\n", "'f' needs 'N', which cell", "augassign"),
            ("for index in range(3): pass\ndef f(): return index\n", "'f' needs 'index'", "(for)"),
            (
                "class Net:\n    pass\nNet.forward = len\ndef f(): return Net\n",
                "'f' needs 'Net', whose 'Net.forward' is set in cell",
            ),
            ("def g(): return 1\ng = print\ndef f(): return g()\n", "'f' needs 'g'"),
            ("X = 1\ndel X\ndef f(): return X\n", "'f' needs 'X', which cell", "(any more)"),
            (
                "def outer():\n    y = 1\n    def f(): return y\n    return f\nf = outer()\n",
                "made inside 'outer' and holds its 'y'",
            ),
            ("f = lambda: 1\n", "a lambda"),
            (
                "class C:\n    def m(self): pass\nf = C().m\n",
                "'C.m' is bound to a live object, a C",
            ),
            (
                "def h(): return data2\ndata2 = object()\ndef f(): return h()\n",
                "'h' needs 'data2', a live object (object)",
            ),
            (
                "import json\ndef f(): return Q\nQ = json.loads('{}')\n",
                "'f' needs 'Q', a live object (dict)",
            ),
        )
        cells = []
        for code, *_ in cases:
            cells += [
                "for _n in ('f', 'g', 'h', 'X'): globals().pop(_n, None)",
                code,
                "_deliver(f)",
            ]
        cells += [
            "%%time\ndef timed(): return 1\n",
            "def f(): return timed()\n",
            "_deliver(f)",
            "_deliver(timed)",
        ]
        answers = self.notebook(*cells)
        for (code, *parts), answer in zip(cases, answers):
            with self.subTest(code):
                self.assertIn("refused", answer)
                self.assertTrue(any(part in answer["refused"] for part in parts), answer["refused"])
                self.assertIn(parts[0] if "magic" not in parts[0] else "magic", answer["refused"])
        self.assertEqual(len(answers), len(cases) + 2)
        for answer in answers[len(cases) :]:
            self.assertIn("under the magic %%time", answer.get("refused", str(answer)))

    def test_a_definition_that_did_not_run_is_not_taken_for_the_one_that_did(self):
        answers = self.notebook(
            "def f(): return 1\n",
            "raise ValueError('stop')\ndef f(): return 2\n",
            "_deliver(f)",
            allow_errors=True,
        )
        self.assertIn("'f', which is not what cell 3 defines", answers[0]["refused"])

    def test_a_class_or_decorated_definition_that_did_not_run_is_noticed_too(self):
        answers = self.notebook(
            "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def both(*a):\n"
            "        f(*a)\n        f(*a)\n    return both\n",
            "class A:\n    size = 1\n    def show(self): print('A', self.size)\n",
            "@twice\ndef f(): A().show()\n",
            "_deliver(f)",
            "raise ValueError('stop')\nclass A:\n    size = 2\n    def show(self): print('A', self.size)\n",
            "_deliver(f)",
            "class A:\n    def show(self): print('again')\n",
            "_deliver(f)",
            "raise ValueError('stop')\nclass A:\n    def show(self): print('never')\n",
            "_deliver(f)",
            "class A:\n    def show(self): print('A')\n",
            "raise ValueError('stop')\n@twice\ndef f(): A().never()\n",
            "_deliver(f)",
            "@functools.lru_cache\ndef cached(): print('cached')\n_deliver(cached)",
            allow_errors=True,
        )
        self.assertEqual(self.ran(answers[0]), "A 1\nA 1\n")
        self.assertIn("'f' needs 'A', which is not what cell 6 defines", answers[1]["refused"])
        self.assertEqual(self.ran(answers[2]), "again\nagain\n")
        self.assertIn("'f' needs 'A', which is not what cell 10 defines", answers[3]["refused"])
        self.assertIn("'f', which is not what cell 13 defines", answers[4]["refused"])
        self.assertEqual(self.ran(answers[5]), "cached\n")

    def test_modules_and_scripts_that_a_notebook_uses_go_as_files(self):
        self.write("lib/train.py", "from .other import N\ndef main(): print('module', N)\n")
        self.write("lib/other.py", "N = 7\n")
        self.write("script.py", "import json\ndef main(): print('script', json.dumps(None))\n")
        answers = self.notebook(
            "from lib.train import main\n_deliver(main)", "%run script.py\n_deliver(main)"
        )
        self.assertEqual([self.ran(each) for each in answers], ["module 7\n", "script null\n"])
        self.assertEqual(self.module(answers[0]), (self.work / "lib/train.py").read_text())

    def test_a_notebook_directory_that_is_too_much_or_in_the_way(self):
        self.write("cas_cells_main.py", "mine = 1\n")
        self.write("other.py", "x = 1\n")
        answers = self.notebook(
            "def main(): print('alone')\n",
            "_deliver(main)",
            "_deliver(main, neighbours=False)",
            "import os\nos.environ['HOME'] = os.getcwd()\n",
            "def again(): print('again')\n",
            "_deliver(again)",
            "os.remove('cas_cells_main.py')\n_deliver(main, root='.')",
        )
        self.assertIn("cas_cells_main.py is in the way", answers[0]["refused"])
        self.assertEqual((self.ran(answers[1]), answers[1]["files"]), ("alone\n", 1))
        self.assertIn("all of that would be pushed", answers[2]["refused"])
        self.assertEqual(self.ran(answers[3]), "alone\n")


if __name__ == "__main__":
    unittest.main()
