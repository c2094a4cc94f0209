"""What the tests share: a directory of their own, files in it, and what a pod would do."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import cas_delivery


class CASTestCase(unittest.TestCase):
    """A test in a new directory; CAS_SERVER names a server on loopback."""

    def setUp(self):
        self.assertIn("127.0.0.1", os.environ.get("CAS_SERVER", ""))
        folder = tempfile.TemporaryDirectory(prefix="cas-python-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        self.work = self.folder / "project"
        self.work.mkdir()
        os.chdir(self.work)

    def write(self, name, content):
        """Write a file of the project; text is written as UTF-8."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def fetch(self, reference):
        """Fetch as an init container does, and return the directory."""
        place = Path(tempfile.mkdtemp(dir=self.folder)) / "code"
        subprocess.run(
            [cas_delivery.executable(), "fetch", reference, str(place)],
            check=True,
            capture_output=True,
        )
        return place

    def run_in_pod(self, delivery, **environment):
        """Fetch a delivery and run its command there with nothing of ours in reach."""
        place = self.fetch(delivery.snapshot.reference)
        plain = {"PATH": os.environ["PATH"], **environment}
        done = subprocess.run(list(delivery.command), cwd=place, env=plain, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def runs(self):
        """Return the runs that `cas runs` lists, and what it says of each."""
        listed = subprocess.run(
            [cas_delivery.executable(), "runs", "--json"], check=True, capture_output=True
        )
        return {run["run"]: run["job"] for run in json.loads(listed.stdout)}

    def refused(self, *parts):
        """Expect a CASError whose text holds all the parts."""
        return _Refused(self, parts)

    def import_new(self, name):
        """Import a module of the project, and forget it after the test."""
        sys.path.insert(0, str(self.work))
        self.addCleanup(sys.path.remove, str(self.work))
        known = set(sys.modules)
        self.addCleanup(lambda: [sys.modules.pop(each) for each in set(sys.modules) - known])
        return __import__(name, fromlist=["*"])


class _Refused:
    def __init__(self, case, parts):
        self.case, self.parts = case, parts

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.case.assertIsNotNone(error, f"nothing was refused; expected {self.parts}")
        if not isinstance(error, cas_delivery.CASError):
            return False
        for part in self.parts:
            self.case.assertIn(part, str(error))
        self.error = error
        return True
