#!/usr/bin/env python3
"""Checks of manifests by what their owners publish; test_kubernetes runs them.

kubernetes.py pack CRDS OUTPUT        schemas of all definitions below CRDS, without their descriptions
kubernetes.py crds TRAINER FILE...    strictly by those schemas: unknown fields are errors (rules in CEL are not evaluated)
kubernetes.py templates FILE...       every pod template in them as a PodTemplate of its own, for kubernetes-validate
kubernetes.py restricted FILE...      every pod template by the restricted Pod Security Standard
kubernetes.py models FILE...          from Kubeflow Trainer's models and back again: what they do not know, they drop

kubernetes-schemas.json.xz holds definitions of Kubeflow Trainer 2.0, 2.1 and 2.3, the Training Operator 1.9 and JobSet
0.12, which those projects publish under the Apache License 2.0; `pack` took the descriptions out.
Exits 1 when a document fails, 2 when none was checked.
"""
import json, lzma, pathlib, sys

import yaml

SCHEMAS = pathlib.Path(__file__).with_name("kubernetes-schemas.json.xz")


def documents(names):
    for name in names:
        for document in yaml.safe_load_all(pathlib.Path(name).read_text()):
            if document:
                yield name, document


def without_descriptions(value):
    if isinstance(value, dict):
        return {key: without_descriptions(item) for key, item in value.items()
                if key != "description" or not isinstance(item, str)}
    return [without_descriptions(item) for item in value] if isinstance(value, list) else value


def pack(folder, output):
    packed = {}
    for path in sorted(pathlib.Path(folder).glob("*/*.yaml")):
        spec = next(document for document in yaml.safe_load_all(path.read_text()) if document)["spec"]
        for version in spec["versions"]:
            name = f'{path.parent.name} {spec["group"]}/{version["name"]} {spec["names"]["kind"]}'
            packed[name] = without_descriptions(version["schema"]["openAPIV3Schema"])
    text = json.dumps(packed, sort_keys=True, separators=(",", ":"))
    pathlib.Path(output).write_bytes(lzma.compress(text.encode(), preset=9))


def strict(schema):
    """Unknown properties are refused wherever properties are listed, as by the API server's strict validation."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if ("properties" in schema and "additionalProperties" not in schema
            and not schema.get("x-kubernetes-preserve-unknown-fields")):
        schema = {**schema, "additionalProperties": False}
    return {key: strict(value) for key, value in schema.items()}


def crds(trainer, *names):
    import jsonschema
    packed = json.loads(lzma.decompress(SCHEMAS.read_bytes()))
    schemas = {}
    for folder in ("jobset-0.12", "training-1.9", "trainer-2.3", "trainer-" + trainer):
        for name, schema in packed.items():
            source, version, kind = name.split(" ")
            if source == folder:
                schema = strict(schema)
                schema["properties"]["metadata"] = {"type": "object"}
                schemas[version, kind] = schema
    for name, document in documents(names):
        schema = schemas.get((document.get("apiVersion"), document.get("kind")))
        if schema is not None:
            errors = list(jsonschema.Draft4Validator(schema).iter_errors(document))
            yield name, [f'{"/".join(map(str, error.path))}: {error.message[:200]}' for error in errors]


def pod_templates(value):
    """Pod templates, wherever they stand: an object with metadata or not, and a spec with containers."""
    if isinstance(value, dict):
        spec = value.get("spec")
        # A patch of Trainer's names containers that its runtime has, and so no image.
        if isinstance(spec, dict) and any("image" in each for each in spec.get("containers") or []):
            yield value
        for item in value.values():
            yield from pod_templates(item)
    elif isinstance(value, list):
        for item in value:
            yield from pod_templates(item)


def templates(*names):
    found = []
    for name, document in documents(names):
        for index, template in enumerate(pod_templates(document)):
            template = {key: template[key] for key in ("metadata", "spec") if key in template}
            template["metadata"] = {key: value for key, value in template.get("metadata", {}).items()
                                    if key in ("labels", "annotations")}
            found.append({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": f"t{index}"}, "template": template})
    print(yaml.safe_dump_all(found))
    sys.exit(0 if found else 2)


# kubernetes.io, "Pod Security Standards": the restricted profile with the baseline below it, for Linux.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
           "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
           "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
           "net.ipv4.tcp_keepalive_probes"}


def violations(spec):
    pod = spec.get("securityContext") or {}
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes") or []:
        yield from (f"volume {volume['name']}: {kind}" for kind in set(volume) - {"name"} - VOLUMES)
    for sysctl in pod.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    if pod.get("runAsUser") == 0:
        yield "runAsUser 0"
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or []:
            name, own = container["name"], container.get("securityContext") or {}
            if own.get("privileged"):
                yield f"{name}: privileged"
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{name}: allowPrivilegeEscalation"
            if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
                yield f"{name}: runAsNonRoot"
            if own.get("runAsUser") == 0:
                yield f"{name}: runAsUser 0"
            profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
            if profile not in ("RuntimeDefault", "Localhost"):
                yield f"{name}: seccompProfile"
            capabilities = own.get("capabilities") or {}
            if "ALL" not in (capabilities.get("drop") or []):
                yield f"{name}: capabilities are not dropped"
            if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
                yield f"{name}: capabilities are added"
            if own.get("procMount", "Default") != "Default":
                yield f"{name}: procMount"
            if any("hostPort" in port and port["hostPort"] for port in container.get("ports") or []):
                yield f"{name}: hostPort"
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                if ((container.get(probe) or {}).get("httpGet") or {}).get("host"):
                    yield f"{name}: {probe} names a host"


def restricted(*names):
    for name, document in documents(names):
        for template in pod_templates(document):
            yield name, list(violations(template["spec"]))


def models(*names):
    import kubeflow_trainer_api.models as api
    classes = {
        "TrainJob": "TrainerV1alpha1TrainJob", "ClusterTrainingRuntime": "TrainerV1alpha1ClusterTrainingRuntime",
        "TrainingRuntime": "TrainerV1alpha1TrainingRuntime", "Job": "IoK8sApiBatchV1Job",
    }
    for name, document in documents(names):
        model = getattr(api, classes.get(document["kind"], ""), None)
        if model is not None:
            back = model.from_dict(document).to_dict()
            yield name, [] if back == document else [f"is not what comes back: {difference(document, back)}"]


def difference(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        return next((difference(left.get(key), right.get(key), f"{path}/{key}")
                     for key in sorted(set(left) | set(right)) if left.get(key) != right.get(key)), path)
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return next((difference(a, b, f"{path}/{index}") for index, (a, b) in enumerate(zip(left, right)) if a != b), path)
    return f"{path}: {left!r} became {right!r}"[:300]


def main(command, *arguments):
    if command == "pack":
        return pack(*arguments)
    if command == "templates":
        return templates(*arguments)
    checked = failed = 0
    for name, errors in {"crds": crds, "restricted": restricted, "models": models}[command](*arguments):
        checked += 1
        failed += bool(errors)
        for error in errors:
            print(f"{pathlib.Path(name).name}: {error}")
    print(f"{checked} checked, {failed} failed")
    return 1 if failed else 0 if checked else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
