#!/usr/bin/env python3
"""trainjob.py jobset|pods RUNTIMES FILE: what Kubeflow Trainer makes of a TrainJob, without a cluster.

`jobset` prints the JobSet that Trainer's controller builds, `pods` the pods that JobSet and Job make of it, as YAML;
FILE may hold a JobSet or a Job as well. RUNTIMES holds the (Cluster)TrainingRuntime that a TrainJob refers to. What this does not know ends it with an error.
The rules are Trainer's; each stands where the comments say, in tag v2.3.0 of github.com/kubeflow/trainer unless they
name another, the JobSet's in v0.12 of kubernetes-sigs/jobset. podman.py fits the pods to `podman kube play`.
"""
import copy, json, sys

import yaml

# Lists that a strategic merge patch merges by a key (`patchMergeKey` in k8s.io/api/core/v1/types.go and JobSet's
# api/jobset/v1alpha2/jobset_types.go); it replaces all others.
MERGE_KEYS = {
    "replicatedJobs": "name", "containers": "name", "initContainers": "name", "volumes": "name", "env": "name",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort", "imagePullSecrets": "name",
    "hostAliases": "ip", "topologySpreadConstraints": "topologyKey", "resourceClaims": "name", "schedulingGates": "name",
    "claims": "name",
}
ANCESTOR = "trainer.kubeflow.org/trainjob-ancestor-step"  # pkg/constants/constants.go:41
PORT = 29500  # pkg/constants/constants.go:72
INDEX = "batch.kubernetes.io/job-completion-index"
RANK = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
TORCH_RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}


class Refused(Exception):
    """What Trainer's admission or this program does not take."""


def merge(original, patch):
    """A strategic merge patch without directives (k8s.io/apimachinery/pkg/util/strategicpatch)."""
    merged = copy.deepcopy(original)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            merged[key] = merge_list(merged.get(key) or [], value, MERGE_KEYS[key])
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def merge_list(original, patch, key):
    """Items of one key are merged; the order is the original's where it has both, else the patch's goes first."""
    place = {item[key]: index for index, item in enumerate(original)}
    patched = {}
    for item in patch:
        patched[item[key]] = merge(original[place[item[key]]], item) if item[key] in place else merge({}, item)
    kept = [item for item in original if item[key] not in patched]
    named, result = list(patched.values()), []
    while kept or named:
        if not named or kept and named[0][key] in place and place[kept[0][key]] < place[named[0][key]]:
            result.append(kept.pop(0))
        else:
            result.append(named.pop(0))
    return result


def upsert(items, *new, key="name"):
    """pkg/apply/apply.go:77: takes the place of the item with the same key, else goes last."""
    for item in new:
        for index, old in enumerate(items):
            if old.get(key) == item.get(key):
                items[index] = item
                break
        else:
            items.append(item)


def merge_overrides(jobs, job_spec):
    """What a TrainJob says about the runtime's template, as each version says it."""
    order = {job["name"]: index for index, job in enumerate(jobs)}
    names = {job["name"]: {c["name"] for kind in ("initContainers", "containers") for c in pod(job).get(kind, [])} for job in jobs}

    def check(target, spec):
        # pkg/runtime/framework/plugins/jobset/jobset.go:174-209
        if target not in names:
            raise Refused(f"there is no replicated job '{target}' in the runtime")
        for kind in ("initContainers", "containers"):
            for container in spec.get(kind, []):
                if container["name"] not in names[target]:
                    raise Refused(f"the runtime's job '{target}' has no container '{container['name']}'")
                if kind == "containers" and container.get("env") and container["name"] in ("node", "dataset-initializer", "model-initializer"):
                    raise Refused(f"the environment of '{container['name']}' is spec.trainer.env")

    for patch in job_spec.get("runtimePatches", []):  # 2.2 and later: pkg/runtime/core/trainingruntime.go:251
        if "/" not in patch["manager"]:
            raise Refused("a patch's manager is a path with a domain")
        spec = patch.get("trainingRuntimeSpec", {}).get("template", {}).get("spec", {})
        for job in spec.get("replicatedJobs", []):
            check(job["name"], job.get("template", {}).get("spec", {}).get("template", {}).get("spec", {}))
        jobs[:] = merge({"replicatedJobs": jobs}, spec)["replicatedJobs"]
        jobs.sort(key=lambda job: order[job["name"]])
    for override in job_spec.get("podTemplateOverrides", []):  # 2.1: trainingruntime.go:190 of v2.1.0
        for target in override["targetJobs"]:
            check(target["name"], override.get("spec", {}))
            job = next(job for job in jobs if job["name"] == target["name"])
            patch = {key: override[key] for key in ("metadata", "spec") if key in override}
            job["template"]["spec"]["template"] = merge(job["template"]["spec"]["template"], patch)
    for override in job_spec.get("podSpecOverrides", []):  # 2.0: trainingruntime.go:182 of v2.0.0
        for target in override["targetJobs"]:
            patch = {key: value for key, value in override.items() if key != "targetJobs"}
            check(target["name"], patch)
            job = next(job for job in jobs if job["name"] == target["name"])
            job["template"]["spec"]["template"]["spec"] = merge(pod(job), patch)


def pod(job):
    return job["template"]["spec"]["template"]["spec"]


def ancestor(job):
    return job["template"].get("metadata", {}).get("labels", {}).get(ANCESTOR)


def node_container(job):
    return next((container for container in pod(job)["containers"] if container["name"] == "node"), None)


def environment(container):
    return container.setdefault("env", [])


def torch(policy, jobs, counts, name, trainer):
    """pkg/runtime/framework/plugins/torch/torch.go:110-225."""
    if trainer.get("command", [])[:2] == ["tune", "run"]:
        raise Refused("torchtune is not known here")
    reserved = TORCH_RESERVED & {variable["name"] for variable in trainer.get("env", [])}
    if reserved:
        raise Refused(f"these are set by Trainer: {sorted(reserved)}")
    owner = next((job for job in jobs if ancestor(job) == "trainer"), None)
    if owner is None:
        return
    counts[owner["name"]] = trainer.get("numNodes", counts[owner["name"]])
    container = node_container(owner)
    resources = (container or {}).get("resources", {})
    # runtime.go:280: whatever names a GPU; with none it is the number of CPUs, of the requests first.
    listed = {**resources.get("requests", {}), **resources.get("limits", {})}
    gpus = sum(int(value) for key, value in listed.items() if "gpu" in key.lower())
    processes = trainer.get("numProcPerNode", "auto")
    if processes == "auto" and gpus == 0:
        processes = max(1, whole(resources.get("requests", {}).get("cpu") or resources.get("limits", {}).get("cpu") or 0))
    own = [{"name": "PET_NNODES", "value": str(counts[owner["name"]])}, {"name": "PET_NPROC_PER_NODE", "value": str(processes)},
           {"name": "PET_NODE_RANK", "valueFrom": RANK}]
    master = [{"name": "PET_MASTER_ADDR", "value": f"{name}-node-0-0.{name}"}, {"name": "PET_MASTER_PORT", "value": str(PORT)}]
    if trainer and container:
        upsert(environment(container), *trainer.get("env", []), *own, *master)
        upsert(container.setdefault("ports", []), {"containerPort": PORT}, key="containerPort")
    for target in policy.get("envInjection", {}).get("targets", []):
        job = next((job for job in jobs if job["name"] == target["jobName"]), None)
        for wanted in target["containerNames"]:
            every = pod(job).get("initContainers", []) + pod(job)["containers"] if job else []
            found = next((each for each in every if each["name"] == wanted), None)
            if found is None:
                raise Refused(f"envInjection names '{target['jobName']}/{wanted}', which the runtime does not have")
            upsert(environment(found), *own, *master)


def whole(quantity):
    """Kubernetes' Quantity.Value: rounded up to an integer."""
    text = str(quantity)
    return -(-int(text[:-1]) // 1000) if text.endswith("m") else int(float(text))


def mpi(policy, jobs, counts, name, trainer):
    """pkg/runtime/framework/plugins/mpi/mpi.go:111-233, 316: a Secret, a ConfigMap with the hosts, OpenMPI's variables."""
    if policy.get("mpiImplementation", "OpenMPI") != "OpenMPI":
        raise Refused("only OpenMPI is known here")
    launches = policy.get("runLauncherAsNode", False)
    if "numNodes" in trainer and "node" in counts:
        counts["node"] = max(trainer["numNodes"] - 1, 1) if launches else trainer["numNodes"]
    slots = trainer.get("numProcPerNode", policy.get("numProcPerNode", 1))
    keys = [{"key": "ssh-privatekey", "path": "id_rsa", "mode": 0o640}, {"key": "ssh-publickey", "path": "id_rsa.pub", "mode": 0o644},
            {"key": "ssh-publickey", "path": "authorized_keys", "mode": 0o644}]
    secret = {"name": "mpi-ssh-auth", "secret": {"secretName": f"{name}-mpi-ssh-auth", "defaultMode": 0o400, "items": keys}}
    hosts = {"name": "mpi-hostfile", "configMap": {
        "name": f"{name}-mpi-hostfile", "items": [{"key": "hostfile", "path": "hostfile", "mode": 0o444}]}}
    lines = []
    for job in jobs:
        if job["name"] not in ("node", "launcher"):
            continue
        upsert(pod(job).setdefault("volumes", []), secret, *([hosts] if job["name"] == "launcher" else []))
        for container in pod(job)["containers"]:
            if container["name"] != "node":
                continue
            mounts = container.setdefault("volumeMounts", [])
            upsert(mounts, {"name": "mpi-ssh-auth", "mountPath": policy.get("sshAuthMountPath", "/root/.ssh")}, key="mountPath")
            if job["name"] == "launcher":
                upsert(mounts, {"name": "mpi-hostfile", "mountPath": "/etc/mpi"}, key="mountPath")
                upsert(environment(container), {"name": "OMPI_MCA_orte_default_hostfile", "value": "/etc/mpi/hostfile"},
                       {"name": "OMPI_MCA_orte_keep_fqdn_hostnames", "value": "true"},
                       {"name": "OMPI_MCA_orte_set_default_slots", "value": str(slots)},
                       {"name": "OMPI_MCA_plm_rsh_args", "value": "-o ConnectionAttempts=10"})
        if job["name"] == "node" or launches:
            lines += [f"{name}-{job['name']}-0-{index}.{name} slots={slots}\n" for index in range(counts[job["name"]])]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-mpi-hostfile"}, "data": {"hostfile": "".join(lines)}}


def jobset(runtime, job):
    """The JobSet of a TrainJob, and the ConfigMaps that come with it."""
    name, spec = job["metadata"]["name"], job["spec"]
    runtime = copy.deepcopy(runtime["spec"])
    trainer, policy = spec.get("trainer", {}), runtime.get("mlPolicy", {})
    template = runtime["template"]
    jobs = template["spec"]["replicatedJobs"]
    for each in jobs:
        pod(each)  # a runtime without pods is none
    merge_overrides(jobs, spec)
    launches = policy.get("mpi", {}).get("runLauncherAsNode", False)
    counts = {}
    for each in jobs:  # trainingruntime.go:186-246
        counts[each["name"]] = each["template"]["spec"].get("parallelism", 1)
        if ancestor(each) == "trainer" and policy:
            counts[each["name"]] = policy.get("numNodes", 1)
        container = node_container(each)
        if container and "resourcesPerNode" in trainer and (ancestor(each) == "trainer" and policy or launches and each["name"] == "node"):
            container["resources"] = merge(container.get("resources", {}), trainer["resourcesPerNode"])
    unknown = set(policy) - {"numNodes", "torch", "mpi"}
    if unknown:
        raise Refused(f"these policies are not known here: {sorted(unknown)}")
    extra = []
    if "torch" in policy:
        torch(policy["torch"], jobs, counts, name, trainer)
    elif "mpi" in policy:
        extra.append(mpi(policy["mpi"], jobs, counts, name, trainer))
    else:  # plainml/plainml.go:46-71
        for each in jobs:
            if ancestor(each) == "trainer":
                counts[each["name"]] = trainer.get("numNodes", counts[each["name"]])
    for each in jobs:  # jobset/builder.go:113-158, jobset.go:302-323
        container = node_container(each)
        if ancestor(each) == "trainer":
            each["replicas"] = 1
            if container:
                container.update({key: trainer[key] for key in ("image", "command", "args") if trainer.get(key) is not None})
        if container and (ancestor(each) == "trainer" or launches and each["name"] == "node") and trainer.get("env"):
            upsert(environment(container), *trainer["env"])
        each["template"]["spec"]["parallelism"] = each["template"]["spec"]["completions"] = counts[each["name"]]
    whole_spec = {**template["spec"], "replicatedJobs": jobs}
    if "suspend" in spec:
        whole_spec["suspend"] = spec["suspend"]
    metadata = {"name": name, **({"namespace": job["metadata"]["namespace"]} if "namespace" in job["metadata"] else {})}
    for key in ("labels", "annotations"):  # trainingruntime.go:144-161
        values = dict(template.get("metadata", {}).get(key, {}))
        for patch in spec.get("runtimePatches", []):
            values.update(patch.get("trainingRuntimeSpec", {}).get("template", {}).get("metadata", {}).get(key, {}))
        if values:
            metadata[key] = values
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": metadata, "spec": whole_spec}, extra


def pods(jobset):
    """The pods of a JobSet, in the order in which they may start, with the names that its controllers give them."""
    name = jobset["metadata"]["name"]
    found = []
    for job in jobset["spec"]["replicatedJobs"]:
        template = job["template"]["spec"]["template"]
        for replica in range(job.get("replicas", 1)):
            for index in range(job["template"]["spec"].get("completions", 1)):
                each = copy.deepcopy(template)
                # JobSet: a Job is JOBSET-JOB-REPLICA, its pods' hosts JOB-INDEX in the subdomain (the JobSet's name);
                # pkg/controllers/jobset_controller.go. Job: the index as annotation, label and variable.
                host = f"{name}-{job['name']}-{replica}-{index}"
                labels = {"jobset.sigs.k8s.io/jobset-name": name, "jobset.sigs.k8s.io/replicatedjob-name": job["name"],
                          "jobset.sigs.k8s.io/job-index": str(replica), INDEX: str(index)}
                metadata = each.setdefault("metadata", {})
                metadata.update(name=host, namespace=jobset["metadata"].get("namespace", "default"))
                for key in ("labels", "annotations"):
                    metadata[key] = {**metadata.get(key, {}), **labels}
                spec = each["spec"]
                spec.update(hostname=host, subdomain=jobset["spec"].get("network", {}).get("subdomain", name))
                spec.setdefault("restartPolicy", "OnFailure")
                for container in spec.get("initContainers", []) + spec["containers"]:
                    upsert(environment(container), {"name": "JOB_COMPLETION_INDEX", "valueFrom": RANK})
                found.append({"apiVersion": "v1", "kind": "Pod", **each})
    return found


def pods_of_job(job):
    """The pods of a Job that is nobody's: NAME-INDEX."""
    name = job["metadata"]["name"]
    metadata = {key: job["metadata"][key] for key in ("name", "namespace") if key in job["metadata"]}
    found = pods({"metadata": metadata, "spec": {"replicatedJobs": [{"name": "", "template": {"spec": job["spec"]}}]}})
    for index, pod in enumerate(found):
        pod["metadata"]["name"] = pod["spec"]["hostname"] = f"{name}-{index}"
    return found


def read(path, *kinds):
    documents = [document for document in yaml.safe_load_all(open(path)) if document and document["kind"] in kinds]
    if not documents:
        raise Refused(f"{path} holds no {' or '.join(kinds)}")
    return documents


def runtime_of(job, path):
    wanted = job["spec"]["runtimeRef"]
    kind = wanted.get("kind", "ClusterTrainingRuntime")
    for runtime in read(path, kind):
        if runtime["metadata"]["name"] == wanted["name"]:
            return runtime
    raise Refused(f"there is no {kind} '{wanted['name']}' in {path}")


if __name__ == "__main__":
    try:
        what, runtimes, path = sys.argv[1:4]
        job, extra = read(path, "TrainJob", "JobSet", "Job")[0], []
        if job["kind"] == "TrainJob":
            job, extra = jobset(runtime_of(job, runtimes), job)
        made = pods_of_job(job) if job["kind"] == "Job" else pods(job)
        yaml.safe_dump_all([job, *extra] if what == "jobset" else [*extra, *made], sys.stdout, sort_keys=False)
    except Refused as error:
        sys.exit(f"error: {error}")
