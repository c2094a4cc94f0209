"""snapshot(): what a push says, as values and as exceptions."""

import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import unittest

from support import CASTestCase

import cas_delivery
from cas_delivery import CASError, snapshot


class SnapshotTests(CASTestCase):
    def test_names_what_was_stored(self):
        self.write("train.py", "print(1)\n")
        self.write("data/a.bin", b"\x00\xff\r\n")
        stored = snapshot(".", to="team/python", message="first, with spaces and -dashes")
        self.assertEqual(stored.ref, "team/python:latest")
        self.assertEqual(stored.name, "team/python")
        self.assertEqual((stored.files, stored.bytes), (2, 13))
        self.assertRegex(stored.digest, "^sha256:[0-9a-f]{64}$")
        self.assertRegex(stored.tree, "^sha256:[0-9a-f]{64}$")
        self.assertEqual(stored.reference, f"team/python@{stored.digest}")
        self.assertEqual(stored.server, os.environ["CAS_SERVER"])
        self.assertIsNone(stored.store)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            stored.digest = ""
        self.assertEqual(
            (self.fetch(stored.reference) / "data/a.bin").read_bytes(), b"\x00\xff\r\n"
        )

    def test_says_on_stderr_what_it_uploads_unless_quiet(self):
        self.write("a.py", "1")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            snapshot(to="team/said")
        self.assertIn("team/said:latest", said.getvalue())
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            again = snapshot(to="team/said", quiet=True)
        self.assertEqual(said.getvalue(), "")
        self.assertTrue(again.unchanged)

    def test_takes_patterns(self):
        self.write("keep.py", "1")
        self.write("big.ckpt", "2")
        self.write("other.ckpt", "3")
        stored = snapshot(to="team/patterns:v1", exclude=["*.ckpt"], include=["/other.ckpt"])
        self.assertEqual((stored.name, stored.files), ("team/patterns", 2))
        with self.assertRaises(TypeError):
            snapshot(to="team/patterns", exclude="*.ckpt")

    def test_a_ref_may_end_by_itself(self):
        self.write("a.py", "1")
        stored = snapshot(to="team/ends", expires="2d", quiet=True)
        listed = subprocess.run(
            [cas_delivery.executable(), "ls", "team/", "--json"], capture_output=True, text=True
        )
        ends = {each["ref"]: each["expires"] for each in json.loads(listed.stdout)}
        self.assertIsNotNone(ends[stored.ref])

    def test_a_directory_may_begin_with_a_dash(self):
        self.write("-odd/a.py", "1")
        self.assertEqual(snapshot("-odd", to="team/odd").files, 1)

    def test_a_store_on_this_machine(self):
        self.write("a.py", "1")
        stored = snapshot(to="team/local", store=str(self.folder / "store"))
        self.assertIsNone(stored.server)
        self.assertEqual(stored.store, str(self.folder / "store"))

    def test_errors_have_the_message_and_the_hint_of_cas(self):
        with self.assertRaises(CASError) as caught:
            snapshot(to="te am")
        self.assertIn("'te am' is not a valid name", caught.exception.message)
        self.assertEqual(caught.exception.hint, "cas push --help")
        self.assertEqual(caught.exception.status, 64)
        with self.assertRaises(CASError) as caught:
            snapshot("nowhere", to="team/nowhere")
        self.assertIn("there is no directory", caught.exception.message)
        self.assertEqual(caught.exception.status, 1)

    def test_no_secret_becomes_an_argument(self):
        secret = "cas_" + "0" * 32 + "_" + "1" * 64
        for words in ({"message": f"with {secret}"}, {"server": "https://me:word@cas.example.org"}):
            with self.assertRaises(CASError) as caught:
                snapshot(to="team/secret", **words)
            self.assertIn("does not belong into an argument", caught.exception.message)
            self.assertNotIn(secret, str(caught.exception))

    def test_the_executable_comes_with_the_package(self):
        found = cas_delivery.executable()
        self.assertTrue(os.access(found, os.X_OK))
        said = subprocess.run(
            [sys.executable, "-m", "cas_delivery", "--version"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        self.assertRegex(said, r"^\d+\.\d+\.\d+\n$")
        os.environ["CAS_EXECUTABLE"] = "/nowhere/cas"
        self.addCleanup(os.environ.pop, "CAS_EXECUTABLE")
        with self.assertRaises(CASError) as caught:
            snapshot(to="team/none")
        self.assertIn("/nowhere/cas does not start", caught.exception.message)


if __name__ == "__main__":
    unittest.main()
