"""The Kubeflow SDK, driven against a stub of Kubernetes, submits what `cas render trainjob` prints."""

import copy
import importlib.metadata
import sys
import unittest

from kubeflow.trainer import CustomTrainerContainer, KubernetesBackendConfig, TrainerClient
from kubeflow_trainer_api import models
from kubernetes_stub import KubernetesStub
from support import CASTestCase

import cas_delivery
import cas_delivery.kubeflow
from cas_delivery import snapshot

SDK = "trainer.kubeflow.org/kubeflow-sdk"
COMMAND = ["torchrun", "train.py", "--note", '$(HOME) "$5" `date` \\n é']


def as_the_sdk_says(rendered):
    """Make the SDK's two own choices: the manager of patches, and no group where it is the default."""
    job = copy.deepcopy(rendered)
    assert job["spec"]["runtimeRef"].pop("apiGroup") == "trainer.kubeflow.org"
    for patch in job["spec"]["runtimePatches"]:
        assert patch["manager"] == "cas.example.org/cli"
        patch["manager"] = SDK
    job["metadata"].pop("namespace", None)  # it stands in the path of the request
    return job


class KubeflowTests(CASTestCase):
    def setUp(self):
        super().setUp()
        self.assertEqual(importlib.metadata.version("kubeflow"), "0.5.0")
        self.write("train.py", "print('training')\n")
        self.code = snapshot(".", to="team/kubeflow", quiet=True)

    def client(self, namespace="team-a", namespaced=()):
        self.stub = KubernetesStub(self.folder, namespace, namespaced)
        self.addCleanup(self.stub.close)
        config = KubernetesBackendConfig(config_file=str(self.stub.kubeconfig), namespace=namespace)
        return TrainerClient(config)

    def created(self):
        ((path, job),) = self.stub.created
        self.stub.created.clear()
        self.assertEqual(path, "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team-a/trainjobs")
        self.assertEqual(models.TrainerV1alpha1TrainJob.from_dict(job).to_dict(), job)
        return job

    def test_the_same_object_as_render(self):
        client = self.client()
        everything = {
            "nodes": 4,
            "resources": {"cpu": "4", "memory": "32Gi"},
            "env": {"EPOCHS": "3", "NOTE": "$(HOME) = é"},
            "labels": {"team": "vision"},
        }
        cases = {
            "init": {},
            "all of it": everything,
            "gpus": {"gpus": 8},
            "image": {"image": "registry.example.org/torch:2"},
            "namespace": {"namespace": "team-a"},
            "bootstrap": {"mode": "bootstrap", "ca_configmap": "ca", **everything},
            "claim": {"claim": "code:versions", **everything},
            "mpi": {"mpi": True},
        }
        for case, words in cases.items():
            with self.subTest(case):
                words = {"name": "resnet", "runtime": "torch-cas", **words}
                arguments = cas_delivery.kubeflow.train_arguments(
                    self.code, COMMAND, unique=False, **words
                )
                name = client.train(**arguments)
                rendered = cas_delivery.render("trainjob", self.code, COMMAND, **words)
                self.assertEqual(rendered["metadata"]["name"], name)
                self.assertEqual(self.created(), as_the_sdk_says(rendered))
                self.assertIn(self.code.reference, str(rendered))

    def test_each_submission_is_a_new_object(self):
        client = self.client()
        words = {"name": "resnet", "runtime": "torch-cas"}
        rendered = cas_delivery.render("trainjob", self.code, COMMAND, **words)
        names = set()
        for _ in range(3):
            names.add(
                client.train(**cas_delivery.kubeflow.train_arguments(self.code, COMMAND, **words))
            )
            job = self.created()
            self.assertRegex(job["metadata"]["name"], "^resnet-[a-z0-9]{5}$")
            job["metadata"]["name"] = rendered["metadata"]["name"]
            self.assertEqual(job, as_the_sdk_says(rendered))
        self.assertEqual(len(names), 3)
        self.assertLessEqual(names, set(self.runs()))

    def test_who_keeps_code_otherwise_leaves_no_run(self):
        before = self.runs()
        words = {"name": "resnet", "runtime": "torch-cas"}
        arguments = cas_delivery.kubeflow.train_arguments(
            self.code.digest, COMMAND, keep_code=False, **words
        )
        self.client().train(**arguments)
        self.assertIn(self.code.digest, str(self.created()))
        self.assertEqual(self.runs(), before)
        arguments = cas_delivery.kubeflow.train_arguments(self.code.digest, COMMAND, **words)
        with self.refused("has no name for the run to stand beside", "keep_code=False"):
            self.client().train(**arguments)
        self.assertEqual(self.stub.created, [])

    def test_options_for_a_trainer_of_ones_own(self):
        client = self.client()
        words = {"name": "resnet", "runtime": "torch-cas", "unique": False}
        client.train(
            runtime="torch-cas",
            trainer=CustomTrainerContainer(image="", num_nodes=2, env={"A": "b"}),
            options=[*cas_delivery.kubeflow.trainer_options(self.code, COMMAND, **words)],
        )
        del words["unique"]
        rendered = cas_delivery.render(
            "trainjob", self.code, COMMAND, nodes=2, env={"A": "b"}, **words
        )
        job, expected = self.created(), as_the_sdk_says(rendered)
        for each in (job, expected):
            del each["metadata"]["name"]  # a digest of what cas was asked
        self.assertEqual(job, expected)
        with self.refused("options can not say nodes, env"):
            cas_delivery.kubeflow.trainer_options(
                self.code, COMMAND, nodes=2, env={"A": "b"}, **words
            )

    def test_a_runtime_of_the_namespace(self):
        client = self.client(namespaced=["mine"])
        words = {"name": "resnet", "runtime": "TrainingRuntime/mine"}
        client.train(
            **cas_delivery.kubeflow.train_arguments(self.code, COMMAND, unique=False, **words)
        )
        rendered = cas_delivery.render("trainjob", self.code, COMMAND, **words)
        self.assertEqual(self.created(), as_the_sdk_says(rendered))

    def test_a_function_and_its_arguments(self):
        self.write("mod_job.py", "def main(rate, note=''):\n    print(rate, note)\n")
        sent = cas_delivery.function(
            self.import_new("mod_job").main,
            [0.5],
            {"note": COMMAND[-1]},
            to="team/kubeflow",
            quiet=True,
            python=sys.executable,
        )
        self.client().train(
            **cas_delivery.kubeflow.train_arguments(sent, name="resnet", runtime="torch-cas")
        )
        command = self.created()["spec"]["trainer"]["command"]
        # What kubelet makes of it: there is nothing that it would expand.
        self.assertEqual(command, list(sent.command))
        self.assertFalse([word for word in command if "$(" in word or "$$" in word])
        self.assertEqual(self.run_in_pod(sent), f"0.5 {COMMAND[-1]}\n")
        self.assertIn("TrainJob: main of mod_job.py", self.runs().values())

    def test_what_the_sdk_can_not_say_is_refused_by_name(self):
        rendered = cas_delivery.render(
            "trainjob", self.code, COMMAND, name="resnet", runtime="torch-cas"
        )
        changes = (
            ("spec.suspend", lambda job: job["spec"].update(suspend=True)),
            ("trainer.numProcPerNode", lambda job: job["spec"]["trainer"].update(numProcPerNode=2)),
            (
                "requests that differ",
                lambda job: job["spec"]["trainer"].update(
                    resourcesPerNode={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
                ),
            ),
            (
                "the variable A",
                lambda job: job["spec"]["trainer"].update(
                    env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
                ),
            ),
            ("drop a part", lambda job: job["spec"].update(unheard="of")),
            (
                "spec.terminationGracePeriodSeconds",
                lambda job: job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"][
                    "spec"
                ]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"].update(
                    terminationGracePeriodSeconds=1
                ),
            ),
        )
        for text, change in changes:
            job = copy.deepcopy(rendered)
            change(job)
            with self.subTest(text), self.refused(text):
                cas_delivery.kubeflow.arguments_of(job)
        arguments = cas_delivery.kubeflow.train_arguments(
            self.code, COMMAND, name="resnet", runtime="torch-cas", namespace="team-b"
        )
        with self.assertRaisesRegex(ValueError, "for the namespace team-b, the client for team-a"):
            self.client().train(**arguments)
        self.assertEqual(self.stub.created, [])

    def test_a_reference_that_pods_can_not_use_is_refused_as_cas_does(self):
        with self.refused("a job needs a command"):
            cas_delivery.kubeflow.train_arguments(self.code, name="a", runtime="torch-cas")
        local = snapshot(".", to="team/local", store=str(self.folder / "store"), quiet=True)
        with self.refused("pods can not reach", "hint"):
            cas_delivery.kubeflow.train_arguments(local, COMMAND, name="a", runtime="torch-cas")
        gone = "team/kubeflow@sha256:" + "0" * 64
        with self.refused("0000"):
            cas_delivery.kubeflow.train_arguments(gone, COMMAND, name="a", runtime="torch-cas")


if __name__ == "__main__":
    unittest.main()
