"""What deploy/kubernetes/ says, against Kubernetes' schemas and against the programs and the images that it runs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from benchmarks.serving_process import free_port
from serving.settings import VARIABLE_PREFIX, Settings, parse_settings
from tests.serving.running_server import start
from tests.shipped_model import shipped_versions
from training.command_line import parser
from training.errors import Stopped, UserError

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "deploy" / "kubernetes"
DOCKERFILE = (REPOSITORY / "deploy" / "Dockerfile").read_text()
VERSIONS = ("1.30", "1.37")  # of Kubernetes: the oldest that has what is used here, and the newest that is known
OF_OPERATORS = {"PyTorchJob", "ServiceMonitor"}  # kinds that Kubernetes itself doesn't have
PER_MACHINE = ("cpu", "gpu")
BUILT = sorted(
    path.parent.relative_to(FOLDER).as_posix()
    for path in FOLDER.rglob("kustomization.yaml")
    if "kind: Kustomization\n" in path.read_text()
)
TRAININGS = [f"overlays/{machine}/{kind}" for machine in PER_MACHINE for kind in ("training", "pytorchjob")]
SERVERS = [f"overlays/{machine}/server" for machine in PER_MACHINE]

Manifest = dict[str, Any]


@cache
def build(path: str) -> list[Manifest]:
    """What `kubectl apply -k` would send."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            built = subprocess.run([*command, FOLDER / path], capture_output=True, text=True)
            assert built.returncode == 0, built.stderr
            return list(yaml.safe_load_all(built.stdout))
    pytest.skip("needs kubectl or kustomize, to build the manifests")


def one(path: str, kind: str) -> Manifest:
    (manifest,) = [manifest for manifest in build(path) if manifest["kind"] == kind]
    return manifest


def pod_template(manifest: Manifest) -> Manifest | None:
    spec = manifest.get("spec", {})
    template: Manifest | None = spec.get("pytorchReplicaSpecs", {}).get("Worker", spec).get("template")
    return template


def pods(path: str) -> list[Manifest]:
    return [template["spec"] for manifest in build(path) if (template := pod_template(manifest))]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def training_job(path: str) -> Manifest:
    """The manifest that trains: a Job of Kubernetes or a PyTorchJob of Kubeflow."""
    named = [manifest for manifest in build(path) if manifest["metadata"]["name"] == "cifar10-training"]
    (job,) = [manifest for manifest in named if manifest["kind"] in ("Job", "PyTorchJob")]
    return job


def environment(container: Manifest) -> dict[str, str]:
    """The variables that the container gets, in a pod whose address is 10.0.0.1."""
    values = {}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if "resourceFieldRef" in source:
            kind, name = source["resourceFieldRef"]["resource"].split(".")
            values[variable["name"]] = container["resources"][kind][name]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["optional"], "nothing here makes Secrets"
        elif "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "status.podIP"
            values[variable["name"]] = "10.0.0.1"
        else:
            values[variable["name"]] = variable["value"]
    return values


def command(container: Manifest) -> list[str]:
    """The container's arguments with their $(VARIABLES) replaced, as the kubelet does it."""
    values = environment(container)
    return [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], argument) for argument in container["args"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", BUILT)
def test_manifests_are_valid(path: str, version: str) -> None:
    for manifest in build(path):
        if manifest["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(manifest, version, strict=True)
        elif template := pod_template(manifest):
            kubernetes_validate.validate(
                {"apiVersion": "v1", "kind": "PodTemplate", "template": template}, version, strict=True
            )


def test_a_mistake_is_found() -> None:
    server = one("base/server", "Deployment")
    wrong = server | {"spec": server["spec"] | {"minReadySecond": 5}}
    with pytest.raises(kubernetes_validate.ValidationError, match="minReadySecond"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_page_names_what_can_be_applied() -> None:
    page = (FOLDER / "README.md").read_text()
    applied = set(re.findall(r"kubectl apply -k deploy/kubernetes/(\S+)", page))
    assert applied | {path.replace("cpu", "gpu") for path in applied} == {
        path for path in BUILT if not path.startswith("base/") or path == "base/storage"
    }
    assert all((FOLDER / link).exists() for link in re.findall(r"\]\((\S+?)\)", page))


@pytest.mark.parametrize("path", [*SERVERS, *TRAININGS])
def test_pods_are_restricted_and_run_as_the_images_user(path: str) -> None:
    """What the Pod Security Standard "restricted" asks for, and a read-only root file system."""
    (user,) = set(re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE))
    for pod in pods(path):
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {int(user)}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


@pytest.mark.parametrize("path", [*SERVERS, *TRAININGS])
def test_volumes_are_claimed_and_lie_where_the_programs_look(path: str) -> None:
    claims = {claim["metadata"]["name"] for claim in build("base/storage")}
    (workdir,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    for pod in pods(path):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claimed = [volume for volume in volumes.values() if "persistentVolumeClaim" in volume]
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in claimed} <= claims
        for container in pod["containers"]:
            mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert "emptyDir" in volumes[mounted["/tmp"]]
            assert {mounted[f"{workdir}/{volume['name']}"] for volume in claimed} == {v["name"] for v in claimed}


@pytest.mark.parametrize("machine", PER_MACHINE)
def test_every_image_is_named_in_one_place_and_is_a_stage(machine: str) -> None:
    images = yaml.safe_load((FOLDER / "overlays" / machine / "images" / "kustomization.yaml").read_text())["images"]
    named = {f"{image['newName']}:{image['newTag']}" for image in images}
    assert all(f" AS {image['name'].removeprefix('cifar10-')}\n" in DOCKERFILE for image in images)
    used = {
        container["image"]
        for path in BUILT
        if path.startswith(f"overlays/{machine}/")
        for pod in pods(path)
        for container in containers(pod)
    }
    assert used == named


@pytest.mark.parametrize("path", SERVERS)
def test_the_server_s_variables_are_settings(path: str) -> None:
    (pod,) = pods(path)
    (server,) = pod["containers"]
    assert pod["enableServiceLinks"] is False  # else the cluster's Services set variables too
    values = environment(server)
    names = {variable["name"] for variable in server["env"]}
    assert names <= {VARIABLE_PREFIX + setting.name.upper() for setting in fields(Settings)}
    settings = parse_settings([], values)
    assert settings.require_cuda == ("nvidia.com/gpu" in server["resources"]["limits"]) == ("gpu" in path)
    assert str(settings.inference_threads) == server["resources"]["requests"]["cpu"]
    gibibytes = int(server["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert gibibytes * 2**30 > 2 * settings.max_upload_memory


@pytest.mark.parametrize("path", SERVERS)
def test_a_pod_that_goes_has_time_to_answer_what_it_was_asked(path: str) -> None:
    (pod,) = pods(path)
    leaving = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > leaving + Settings().shutdown_timeout
    rollout = one(path, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rollout["maxUnavailable"] < one(path, "HorizontalPodAutoscaler")["spec"]["minReplicas"]


@pytest.mark.parametrize("path", SERVERS)
def test_what_belongs_to_the_server_finds_it(path: str) -> None:
    deployment, service = one(path, "Deployment"), one(path, "Service")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    assert "replicas" not in deployment["spec"]  # the autoscaler's
    target = one(path, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    spread = [constraint["labelSelector"] for constraint in template["spec"]["topologySpreadConstraints"]]
    for selector in (deployment["spec"]["selector"], one(path, "PodDisruptionBudget")["spec"]["selector"], *spread):
        assert selector["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels

    monitor = one("monitoring", "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert [port["name"] for port in service["spec"]["ports"]] == [monitor["spec"]["endpoints"][0]["port"]]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert container["ports"][0]["containerPort"] == Settings().port
    assert f"EXPOSE {Settings().port}\n" in DOCKERFILE


def test_prometheus_calls_the_server_as_the_alerts_do() -> None:
    """A ServiceMonitor without a jobLabel names the job after the Service."""
    alerts = (REPOSITORY / "deploy" / "monitoring" / "prometheus" / "alerts.yml").read_text()
    assert "jobLabel" not in one("monitoring", "ServiceMonitor")["spec"]
    assert set(re.findall(r'job="(.+?)"', alerts)) == {one("base/server", "Service")["metadata"]["name"]}


def test_probes_and_prometheus_are_answered(tmp_path: Path) -> None:
    (pod,) = pods("base/server")
    (container,) = pod["containers"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["port"] for probe in probes} == {container["ports"][0]["name"]}
    assert [probe["path"] for probe in probes] == ["/healthz", "/readyz", "/healthz"]
    asked = [probe["path"] for probe in probes] + [one("monitoring", "ServiceMonitor")["spec"]["endpoints"][0]["path"]]
    server = start(REPOSITORY / "models", tmp_path / "server.log", (), environment(container))
    try:
        assert [server.get(path).status_code for path in asked] == [200] * 4
    finally:
        assert server.stop() == 0


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty volume, and beside it what the server's image has in its working directory."""
    for folder in shipped_versions():
        shutil.copytree(REPOSITORY / folder, tmp_path / "image" / folder)
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def start_filling(volume: Path) -> subprocess.Popen[bytes]:
    (pod,) = pods("base/server")
    (first,) = pod["initContainers"]
    name, mounted = first["args"]
    assert {mount["name"]: mount["mountPath"] for mount in first["volumeMounts"]} == {"models": mounted}
    return subprocess.Popen([*first["command"], name, str(volume)], cwd=volume.parent / "image")


def test_an_empty_volume_gets_the_model_that_ships(volume: Path) -> None:
    together = [start_filling(volume) for _ in range(4)]
    assert [process.wait(10) for process in together] == [0] * 4
    assert os.listdir(volume) == ["cifar10"]
    for folder in shipped_versions():
        there = volume / "cifar10" / folder.name
        assert (there / "model.onnx").read_bytes() == (REPOSITORY / folder / "model.onnx").read_bytes()
        shutil.rmtree(there)
    assert start_filling(volume).wait(10) == 0
    assert not os.listdir(volume / "cifar10"), "what was withdrawn came back"


@pytest.mark.parametrize("path", TRAININGS)
def test_the_training_s_commands_are_understood(path: str) -> None:
    from torch.distributed.run import get_args_parser

    job = training_job(path)
    template = pod_template(job)
    assert template
    (fetch,), (trainer,) = template["spec"]["initContainers"], template["spec"]["containers"]
    assert trainer["name"] == "pytorch"
    python, launcher, *arguments = command(trainer)
    (configuration,) = one(path, "ConfigMap")["data"]
    assert (python, launcher) == ("python", f"/launcher/{configuration}")
    torchrun = get_args_parser().parse_args(arguments)
    assert (torchrun.module, torchrun.training_script) == (True, "training")
    assert torchrun.nproc_per_node == ("gpu" if "gpu" in path else "1")
    assert template["spec"]["terminationGracePeriodSeconds"] > torchrun.shutdown_timeout
    train = parser().parse_args(torchrun.training_script_args)
    assert (train.command, train.resume) == ("train", True)
    assert command(fetch)[:3] == ["python", "-m", "training"]
    assert parser().parse_args(command(fetch)[3:]).command == "fetch"

    publishing = next(found for found in build(path) if found["metadata"]["name"] == "cifar10-publishing")
    pod = publishing["spec"]["template"]["spec"]
    evaluating, exporting = (parser().parse_args(command(container)[3:]) for container in containers(pod))
    assert (evaluating.command, evaluating.watch, exporting.command) == ("eval", True, "export")
    assert train.run_dir == evaluating.run_dir == exporting.run_dir
    assert all(environment(container)["OMP_NUM_THREADS"] for container in [trainer, *containers(pod)])


@pytest.mark.parametrize("machine", PER_MACHINE)
def test_the_pods_of_the_job_meet(machine: str) -> None:
    from torch.distributed.run import get_args_parser

    path = f"overlays/{machine}/training"
    job, service = training_job(path), one(path, "Service")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    torchrun = get_args_parser().parse_args(command(pod["containers"][0])[2:])
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(torchrun.nnodes) > 1
    assert pod["subdomain"] == service["metadata"]["name"]
    (port,) = service["spec"]["ports"]
    assert torchrun.rdzv_backend == "c10d"
    assert torchrun.rdzv_endpoint == f"{job['metadata']['name']}-0.{pod['subdomain']}:{port['port']}"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)


@pytest.mark.parametrize("path", [path for path in TRAININGS if path.endswith("/training")])
def test_what_a_person_must_mend_is_not_tried_again(path: str) -> None:
    jobs = [manifest for manifest in build(path) if manifest["kind"] == "Job"]
    assert len(jobs) == 2
    for job in jobs:
        rules = job["spec"]["podFailurePolicy"]["rules"]
        by_status = [rule for rule in rules if "onExitCodes" in rule]
        actions = {status: rule["action"] for rule in by_status for status in rule["onExitCodes"]["values"]}
        assert actions.pop(UserError.status) == "FailJob"
        # A signal is nobody's mistake. Nothing else is decided by its status: the limits of tries are for it.
        assert actions in ({}, {Stopped(signal.SIGTERM, 0, None).status: "Ignore"})
        assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"  # or there is no such policy


@pytest.mark.parametrize("machine", PER_MACHINE)
def test_kubeflow_trains_the_same(machine: str) -> None:
    job, kubeflow_job = (training_job(f"overlays/{machine}/{kind}") for kind in ("training", "pytorchjob"))
    assert kubeflow_job["apiVersion"] == "kubeflow.org/v1"
    worker = kubeflow_job["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert worker["replicas"] == job["spec"]["completions"]
    pod, kubeflow_pod = job["spec"]["template"]["spec"], worker["template"]["spec"]
    decided_by_the_operator = {"subdomain", "restartPolicy", "containers"}
    assert {key: value for key, value in pod.items() if key not in decided_by_the_operator} == {
        key: value for key, value in kubeflow_pod.items() if key != "containers"
    }
    (container,), (kubeflow_container,) = pod["containers"], kubeflow_pod["containers"]
    assert {**container, "args": [], "env": []} == {**kubeflow_container, "args": [], "env": []}
    assert environment(container) == {**environment(kubeflow_container), "PODS": str(worker["replicas"])}
    elastic = kubeflow_job["spec"]["elasticPolicy"]
    from_the_operator = {
        f"--nnodes={worker['replicas']}",
        f"--rdzv-backend={elastic['rdzvBackend']}",
        f"--rdzv-id={elastic['rdzvId']}",
        f"--max-restarts={elastic['maxRestarts']}",
    }
    given = {argument for argument in command(container) if not argument.startswith("--rdzv-endpoint=")}
    assert given == {*command(kubeflow_container), *from_the_operator}


def start_pod(index: int, launcher: Path, endpoint: str, *training: str) -> subprocess.Popen[str]:
    """A pod of the Job as a process: its launcher and torchrun's arguments, with the rendezvous on this machine."""
    launcher.write_text(one("overlays/cpu/training", "ConfigMap")["data"][launcher.name])
    (container,) = training_job("overlays/cpu/training")["spec"]["template"]["spec"]["containers"]
    arguments = command(container)[2:]
    here = [f"--rdzv-endpoint={endpoint}", "--local-addr=127.0.0.1", "--max-restarts=0"]
    return subprocess.Popen(
        [sys.executable, launcher, *arguments[: arguments.index("-m")], *here, "-m", "training", *training],
        cwd=REPOSITORY,
        env=os.environ | environment(container) | {"JOB_COMPLETION_INDEX": str(index)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_pods_meet_and_end_with_the_status_of_their_ranks(tmp_path: Path) -> None:
    """torchrun would end with 1, and take both pods, whose endpoint is their own address, for the first."""
    endpoint = f"localhost:{free_port()}"
    started = [start_pod(index, tmp_path / "launch.py", endpoint, "train", "--steps=none") for index in (1, 0)]
    try:
        printed = [pod.communicate(timeout=60)[0] for pod in started]
    finally:
        for pod in started:
            pod.kill()
    assert [pod.returncode for pod in started] == [UserError.status] * 2, printed
