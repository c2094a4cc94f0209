"""A Kubernetes API on loopback that knows one runtime and records what is created."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TRAINER = "/apis/trainer.kubeflow.org/v1alpha1/"


def runtime(name, kind, **policy):
    """Return a runtime as the SDK needs to see it."""
    node = {"name": "node", "image": "registry.example.org/torch:1"}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {
            "mlPolicy": policy or {"numNodes": 1, "torch": {}},
            "template": {
                "spec": {
                    "replicatedJobs": [
                        {
                            "name": "node",
                            "template": {
                                "metadata": {
                                    "labels": {
                                        "trainer.kubeflow.org/trainjob-ancestor-step": "trainer"
                                    }
                                },
                                "spec": {"template": {"spec": {"containers": [node]}}},
                            },
                        }
                    ]
                }
            },
        },
    }


class KubernetesStub:
    """Serves until closed; `created` has a pair of path and object for each POST."""

    def __init__(self, folder, namespace, namespaced=()):
        stub = self
        self.created = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, content):
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                parts = self.path.split("?")[0].removeprefix(TRAINER).split("/")
                if self.path.endswith("/configmaps/kubeflow-trainer-public"):
                    self.answer(
                        200,
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "data": {"kubeflow_trainer_version": "v2.3.0"},
                        },
                    )
                elif self.path.startswith(TRAINER) and parts[-2] == "clustertrainingruntimes":
                    self.answer(200, runtime(parts[-1], "ClusterTrainingRuntime"))
                elif self.path.startswith(TRAINER) and parts[-2:] == [
                    "trainingruntimes",
                    *namespaced,
                ]:
                    self.answer(200, runtime(parts[-1], "TrainingRuntime"))
                else:
                    self.answer(
                        404,
                        {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404},
                    )

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                content = json.loads(body)
                stub.created.append((self.path, content))
                self.answer(201, content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.kubeconfig = folder / "kubeconfig"
        address = f"http://127.0.0.1:{self.server.server_port}"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "stub",
                    "clusters": [{"name": "stub", "cluster": {"server": address}}],
                    "users": [{"name": "stub", "user": {}}],
                    "contexts": [
                        {
                            "name": "stub",
                            "context": {"cluster": "stub", "user": "stub", "namespace": namespace},
                        }
                    ],
                }
            )
        )

    def close(self):
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
