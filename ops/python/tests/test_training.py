"""kubeflow-training 1.9, driven against a stub of Kubernetes, submits what `cas render` prints."""

import copy
import importlib.metadata
import unittest

from kubeflow.training import TrainingClient
from kubernetes_stub import KubernetesStub
from support import CASTestCase

import cas_delivery
import cas_delivery.training
from cas_delivery import snapshot

COMMAND = ["torchrun", "train.py", "--note", '$(HOME) "$5" `date` \\n é']


class TrainingTests(CASTestCase):
    def setUp(self):
        super().setUp()
        self.assertTrue(importlib.metadata.version("kubeflow-training").startswith("1.9."))
        self.write("train.py", "print('training')\n")
        self.code = snapshot(".", to="team/training", quiet=True)
        self.stub = KubernetesStub(self.folder, "team-a")
        self.addCleanup(self.stub.close)
        self.client = TrainingClient(config_file=str(self.stub.kubeconfig), namespace="team-a")

    def created(self):
        ((path, job),) = self.stub.created
        self.stub.created.clear()
        return path, job

    def test_the_same_object_as_render(self):
        plain = {"name": "resnet", "image": "registry.example.org/torch:2"}
        everything = {
            "nodes": 3,
            "gpus": 2,
            "resources": {"cpu": "4", "memory": "32Gi"},
            "namespace": "team-a",
            "env": {"EPOCHS": "3"},
            "labels": {"team": "vision"},
            "ca_configmap": "ca",
            **plain,
        }
        for kind in ("pytorchjob", "tfjob", "mpijob"):
            for words in (
                plain,
                everything,
                {**everything, "mode": "bootstrap"},
                {**plain, "claim": "code:versions"},
            ):
                if kind == "mpijob" and words.get("mode") == "bootstrap":
                    with self.refused("--mode bootstrap can not reach MPI's workers"):
                        cas_delivery.training.job(kind, self.code, COMMAND, **words)
                    continue
                with self.subTest(f"{kind} {words}"):
                    job = cas_delivery.training.job(kind, self.code, COMMAND, unique=False, **words)
                    self.client.create_job(job=job)
                    rendered = cas_delivery.render(kind, self.code, COMMAND, **words)
                    path, sent = self.created()
                    self.assertEqual(sent, rendered)
                    self.assertEqual(path, f"/apis/kubeflow.org/v1/namespaces/team-a/{kind}s")
                    self.assertIn(self.code.reference, str(sent))

    def test_each_submission_is_a_new_object(self):
        words = {"name": "resnet", "image": "registry.example.org/torch:2"}
        rendered = cas_delivery.render("pytorchjob", self.code, COMMAND, **words)
        names = set()
        for _ in range(3):
            self.client.create_job(
                job=cas_delivery.training.pytorch_job(self.code, COMMAND, **words)
            )
            _, job = self.created()
            names.add(job["metadata"]["name"])
            self.assertRegex(job["metadata"]["name"], "^resnet-[a-z0-9]{5}$")
            job["metadata"]["name"] = rendered["metadata"]["name"]
            self.assertEqual(job, rendered)
        self.assertEqual(len(names), 3)
        self.assertLessEqual(names, set(self.runs()))

    def test_what_the_models_would_drop_is_refused(self):
        rendered = cas_delivery.render(
            "pytorchjob", self.code, COMMAND, name="a", image="registry.example.org/torch:2"
        )
        changed = copy.deepcopy(rendered)
        changed["spec"]["unheard"] = "of"
        with self.refused("the models of kubeflow-training drop a part of this PyTorchJob"):
            cas_delivery.training.job_of(changed)
        with self.refused("kubeflow-training has no Job", "PyTorchJob"):
            cas_delivery.training.job_of({"kind": "Job"})


if __name__ == "__main__":
    unittest.main()
