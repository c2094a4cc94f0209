#!/usr/bin/env python3
"""trainjob_checks.py SEED: trainjob.py against others' words: kubectl's strategic merge, the models of Trainer's API.

Needs kubectl (patch --local) and kubeflow-trainer-api.
"""
import json, pathlib, random, subprocess, sys, tempfile

import kubeflow_trainer_api.models as models

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import trainjob
from trainjob import merge

seed = int(sys.argv[1])
dice = random.Random(seed)


def containers(count, image):
    names = dice.sample("abcdefgh", count)
    made = []
    for name in names:
        each = {"name": name, **({"image": f"{image}-{name}"} if image else {})}
        if dice.random() < 0.7:
            each["env"] = [{"name": key, "value": str(dice.randrange(9))} for key in dice.sample("ABCDEF", dice.randrange(1, 5))]
        if dice.random() < 0.6:
            each["volumeMounts"] = [{"name": key, "mountPath": f"/{key}", **({"readOnly": True} if dice.random() < 0.3 else {})}
                                    for key in dice.sample("uvwxyz", dice.randrange(1, 4))]
        if dice.random() < 0.5:
            each["securityContext"] = {"runAsUser": dice.randrange(1, 9)}
        if image and dice.random() < 0.5:
            each["command"] = dice.sample(["x", "y", "z"], 2)
        made.append(each)
    return made


def spec(image):
    made = {"containers": containers(dice.randrange(1, 5), image)}
    if dice.random() < 0.7:
        made["initContainers"] = containers(dice.randrange(1, 4), image)
    if dice.random() < 0.7:
        made["volumes"] = [{"name": name, "emptyDir": {}} for name in dice.sample("uvwxyz", dice.randrange(1, 4))]
    if dice.random() < 0.4:
        made["tolerations"] = [{"key": dice.choice("abc"), "operator": "Exists"}]
    if dice.random() < 0.4:
        made["securityContext"] = {dice.choice(["runAsUser", "runAsGroup"]): dice.randrange(1, 9)}
    return made


def plain(value):
    """Without what others write for nothing: empty lists and objects, a port's default protocol."""
    if isinstance(value, dict):
        cleaned = {key: plain(each) for key, each in value.items() if key not in ("status", "creationTimestamp", "protocol")}
        return {key: each for key, each in cleaned.items() if each not in ({}, [], None) or key == "emptyDir"}
    return [plain(each) for each in value] if isinstance(value, list) else value


with tempfile.TemporaryDirectory() as folder:
    for number in range(25):
        original = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec("i")}
        patch = {"spec": spec("")}
        for kind in ("containers", "initContainers"):
            present = {c["name"] for c in original["spec"].get(kind, [])}
            patch["spec"][kind] = [c for c in patch["spec"].get(kind, []) if c["name"] in present]
        pathlib.Path(folder, "pod").write_text(json.dumps(original))
        done = subprocess.run(["kubectl", "patch", "--local", "-f", f"{folder}/pod", "--type", "strategic", "-p", json.dumps(patch), "-o", "json"],
                              capture_output=True, text=True, timeout=60)
        if done.returncode:
            sys.exit(f"seed {seed}, case {number}: kubectl: {done.stderr}")
        theirs, ours = plain(json.loads(done.stdout)), plain(merge(original, patch))
        if theirs != ours:
            sys.exit(f"seed {seed}, case {number}:\n{json.dumps(original)}\n{json.dumps(patch)}\nkubectl: {json.dumps(theirs)}\nours:    {json.dumps(ours)}")
print("25 merges as kubectl does them")

FETCH = {"name": "cas-fetch", "image": "cas", "args": ["fetch", "/cas/code"], "env": [{"name": "CAS_SERVER", "value": "http://cas"}]}


def runtime(policy, *jobs):
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "ClusterTrainingRuntime", "metadata": {"name": "r"}, "spec": {
        "mlPolicy": policy, "template": {"spec": {"replicatedJobs": list(jobs)}}}}


def replicated(name, step, **more):
    template = {"spec": {"template": {"spec": {"initContainers": [FETCH], "containers": [{"name": "node", "image": "base", **more}]}}}}
    if step:
        template["metadata"] = {"labels": {trainjob.ANCESTOR: step}}
    return {"name": name, "template": template}


def job(trainer, **more):
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": "j", "namespace": "team"},
            "spec": {"runtimeRef": {"name": "r"}, "trainer": trainer, **more}}


def build(runtime, job):
    made, extra = trainjob.jobset(runtime, job)
    again = models.JobsetV1alpha2JobSet.from_dict(json.loads(json.dumps(made))).to_dict()
    if plain(again) != plain(made):
        sys.exit(f"the models of Trainer's API know other fields:\n{json.dumps(plain(made))}\n{json.dumps(plain(again))}")
    for pod in trainjob.pods(made):
        again = models.IoK8sApiCoreV1PodTemplateSpec.from_dict({key: pod[key] for key in ("metadata", "spec")}).to_dict()
        if plain(again["spec"]) != plain(pod["spec"]):
            sys.exit(f"a pod has fields that the models do not know:\n{json.dumps(plain(pod['spec']))}\n{json.dumps(plain(again['spec']))}")
    return made, extra


def variables(pod, container="node"):
    every = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    return {v["name"]: v.get("value", "index") for c in every if c["name"] == container for v in c.get("env", [])}


def expect(what, wanted, got):
    if wanted != got:
        sys.exit(f"{what}: expected {wanted}, got {got}")


ref = [{"name": "CAS_REF", "value": "n@sha256:0"}]
patch = {"initContainers": [{"name": "cas-fetch", "env": ref}]}
ways = {
    "2.3": {"runtimePatches": [{"manager": "cas.example.org/cli", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [
        {"name": "node", "template": {"spec": {"template": {"spec": patch}}}}]}}}}]},
    "2.1": {"podTemplateOverrides": [{"targetJobs": [{"name": "node"}], "spec": patch}]},
    "2.0": {"podSpecOverrides": [{"targetJobs": [{"name": "node"}], **patch}]},
}
made = {}
for version, way in ways.items():
    trainer = {"numNodes": 2, "command": ["python", "train.py"], "env": [{"name": "EPOCHS", "value": "3"}], "resourcesPerNode": {"requests": {"cpu": 4}}}
    made[version], _ = build(runtime({"torch": {}}, replicated("node", "trainer")), job(trainer, **way))
expect("2.0 and 2.1 and 2.3 say the same", [made["2.3"]] * 2, [made["2.1"], made["2.0"]])
first, second = trainjob.pods(made["2.3"])
expect("a pod's name", ["j-node-0-0", "j-node-0-1"], [first["metadata"]["name"], second["metadata"]["name"]])
expect("torch's variables", {"EPOCHS": "3", "PET_NNODES": "2", "PET_NPROC_PER_NODE": "4", "PET_NODE_RANK": "index",
       "PET_MASTER_ADDR": "j-node-0-0.j", "PET_MASTER_PORT": "29500", "JOB_COMPLETION_INDEX": "index"}, variables(first))
expect("the index", "1", second["metadata"]["annotations"][trainjob.INDEX])
expect("the reference", "n@sha256:0", variables(second, "cas-fetch")["CAS_REF"])
expect("the order of the init container's variables", ["CAS_REF", "CAS_SERVER"], list(variables(first, "cas-fetch"))[:2])
injected, _ = build(runtime({"torch": {"envInjection": {"targets": [{"jobName": "node", "containerNames": ["cas-fetch"]}]}}},
                            replicated("node", "trainer")), job({"numNodes": 3}))
expect("envInjection", "3", variables(trainjob.pods(injected)[0], "cas-fetch")["PET_NNODES"])
plainml, _ = build(runtime({"numNodes": 4}, replicated("node", "trainer")), job({"image": "own", "args": ["a"]}))
expect("the runtime's number of nodes", 4, len(trainjob.pods(plainml)))
expect("the job's image", "own", trainjob.pods(plainml)[0]["spec"]["containers"][0]["image"])
ring = runtime({"mpi": {"numProcPerNode": 1, "mpiImplementation": "OpenMPI", "sshAuthMountPath": "/home/m/.ssh", "runLauncherAsNode": True}},
               replicated("node", None, command=["sshd"]), replicated("launcher", "trainer"))
launched, extra = build(ring, job({"numNodes": 3, "command": ["mpirun", "x"], "image": "own"}))
expect("MPI's pods", ["j-node-0-0", "j-node-0-1", "j-launcher-0-0"], [pod["metadata"]["name"] for pod in trainjob.pods(launched)])
expect("MPI's hosts", "j-node-0-0.j slots=1\nj-node-0-1.j slots=1\nj-launcher-0-0.j slots=1\n", extra[0]["data"]["hostfile"])
images = [pod["spec"]["containers"][0]["image"] for pod in trainjob.pods(launched)]
expect("MPI's workers keep the runtime's image", ["base", "base", "own"], images)
refused = [
    job({}, runtimePatches=[{"manager": "a.b/c", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [
        {"name": "node", "template": {"spec": {"template": {"spec": {"initContainers": [{"name": "new"}]}}}}}]}}}}]),
    job({}, podSpecOverrides=[{"targetJobs": [{"name": "none"}]}]),
    job({}, podSpecOverrides=[{"targetJobs": [{"name": "node"}], "containers": [{"name": "node", "env": ref}]}]),
    job({"env": [{"name": "PET_NNODES", "value": "1"}]}),
]
for each in refused:
    try:
        trainjob.jobset(runtime({"torch": {}}, replicated("node", "trainer")), each)
        sys.exit(f"this was taken: {json.dumps(each)}")
    except trainjob.Refused:
        pass
print("the JobSets and pods hold to the models; what Trainer refuses is refused")
