"""The README's examples, as a reader would run them: test_readme.py SECTION..."""

import os
import re
import subprocess
import sys
from pathlib import Path

from kubernetes_stub import KubernetesStub
from support import CASTestCase

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(section):
    """Return the language and text of each example below a heading."""
    parts = re.split(r"^#+ (.*)\n", README.read_text("utf-8"), flags=re.MULTILINE)
    text = dict(zip(parts[1::2], parts[2::2]))[section]
    return re.findall(r"^```(sh|python)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


class ReadmeTests(CASTestCase):
    def examples(self, section):
        self.write("train.py", "def train(rate, note=''):\n    print(rate, note)\n")
        stub = KubernetesStub(self.folder, "team-a")
        self.addCleanup(stub.close)
        found = blocks(section)
        self.assertTrue(found, section)
        for number, (language, text) in enumerate(found):
            file = self.work / f"example{number}.{language}"
            file.write_text(text)
            done = subprocess.run(
                [
                    sys.executable if language == "python" else "bash",
                    *(["-e"] if language == "sh" else []),
                    file,
                ],
                capture_output=True,
                text=True,
                env={**os.environ, "KUBECONFIG": str(stub.kubeconfig)},
            )
            self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}\n{done.stderr}")
            yield text, done.stdout, [job for _, job in stub.created]
            stub.created.clear()
            file.unlink()

    def test_install(self):
        for _, said, _ in self.examples("cas-delivery"):
            self.assertRegex(said, r"^\d+\.\d+\.\d+\n$")

    def test_snapshot(self):
        for _, said, _ in self.examples("A snapshot"):
            self.assertRegex(
                said, r"^team/resnet@sha256:[0-9a-f]{64}\n2 \d+ False\nthere is no directory"
            )

    def test_sdk(self):
        for section in ("The Kubeflow SDK", "A function"):
            for text, _, jobs in self.examples(section):
                self.assertEqual([job["kind"] for job in jobs], ["TrainJob"], text)
                self.assertEqual(jobs[0]["spec"]["trainer"]["numNodes"], 4)

    def test_training(self):
        for text, _, jobs in self.examples("kubeflow-training 1.9"):
            self.assertEqual([job["kind"] for job in jobs], ["PyTorchJob"], text)
