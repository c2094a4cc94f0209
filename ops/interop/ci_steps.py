#!/usr/bin/env python3
"""ci_steps.py github|gitlab FILE WORKSPACE SCRATCH VARIABLES: runs the jobs of a CI file here, step by step.

What a runner does is done as it does it: bash with its flags, GITHUB_ENV, GITHUB_PATH, GITHUB_OUTPUT and the summary
between steps; needs, outputs and dotenv reports between jobs; caches kept in SCRATCH. VARIABLES is a JSON file with the
values of expressions (GitHub: `vars.X`, `secrets.X`, `github.X`) or of CI variables (GitLab). What a file uses and
this does not know ends it with an error. Prints a JSON document with what the jobs left.
"""
import json, os, pathlib, re, shutil, subprocess, sys

import yaml

system, file, workspace, scratch, variables = sys.argv[1:6]
scratch = pathlib.Path(scratch)
values = json.load(open(variables))
document = yaml.load(open(file), Loader=yaml.BaseLoader)
inherited = {name: os.environ[name] for name in ("PATH", "LANG", "CAS_CA_FILE") if name in os.environ}
result = {"jobs": {}}


def stop(message):
    sys.exit(f"error: {file}: {message}")


def checkout(target):
    shutil.copytree(workspace, target, symlinks=True)


def keep_cache(name, folder, save):
    kept = scratch / "caches" / name
    source, target = (folder, kept) if save else (kept, folder)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)


def run(shell, text, environment, folder, name):
    done = subprocess.run(shell + [text], env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        stop(f"{name} ended with {done.returncode}:\n{text}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout, done.stderr


class GitHub:
    """The part of GitHub's expressions that the file uses."""

    def __init__(self):
        self.contexts = dict(values)
        self.needs = {}

    def lookup(self, path, local):
        found = {**self.contexts, **local}
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def expand(self, text, local):
        def value(match):
            found = self.lookup(match.group(1), local)
            return "" if found is None else str(found)

        text = re.sub(r"\$\{\{\s*([a-z_]+(?:\.[A-Za-z0-9_]+)+)\s*\}\}", value, text)
        if "${{" in text:
            stop(f"an expression that is not known here: {text}")
        return text

    def holds(self, condition, local):
        if condition is None:
            return True
        match = re.fullmatch(r"([a-z_]+(?:\.[A-Za-z0-9_]+)+) (==|!=) (?:'([^']*)'|(true))", condition)
        if not match:
            stop(f"a condition that is not known here: {condition}")
        found = self.lookup(match.group(1), local)
        wanted = True if match.group(4) else match.group(3)
        equal = (found if wanted is True else "" if found is None else found) == wanted
        return equal if match.group(2) == "==" else not equal

    def job(self, name, job):
        folder = scratch / f"github-{name}"
        work, temporary = folder / "work", folder / "temp"
        temporary.mkdir(parents=True)
        steps, exported, path, caches = {}, {}, [], []
        left = result["jobs"][name] = {"steps": [], "summary": "", "printed": "", "artifacts": {}}
        local = {"runner": {"temp": str(temporary)}, "steps": steps, "needs": self.needs}
        outer = {key: self.expand(text, local) for part in (document, job) for key, text in part.get("env", {}).items()}
        default = document.get("defaults", {}).get("run", {}).get("shell")
        if default != "bash":
            stop("the shell is not bash")
        for index, step in enumerate(job["steps"]):
            title = step.get("name") or step["uses"]
            environment = {**outer, **exported, **{key: self.expand(text, local) for key, text in step.get("env", {}).items()}}
            local["env"] = environment
            if not self.holds(step.get("if"), local):
                left["steps"].append(f"{title} (skipped)")
                continue
            left["steps"].append(title)
            options = {key: self.expand(text, local) for key, text in step.get("with", {}).items()}
            if "uses" in step:
                self.action(step["uses"], options, work, left, caches)
                continue
            if "${{" in step["run"]:
                stop(f"{title}: an expression within a script, where its value would be code")
            files = {key: folder / f"{index}-{key}" for key in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
            for each in files.values():
                each.write_text("")
            work.mkdir(exist_ok=True)
            whole = {**inherited, "HOME": str(folder), "CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(temporary),
                     "GITHUB_WORKSPACE": str(work), **values.get("runner_environment", {}), **environment,
                     **{key: str(each) for key, each in files.items()}}
            whole["PATH"] = ":".join(path[::-1] + [whole["PATH"]])
            place = work / step.get("working-directory", ".")
            script = folder / f"{index}.sh"
            script.write_text(step["run"])
            printed = run(["bash", "--noprofile", "--norc", "-eo", "pipefail"], str(script), whole, place, title)
            left["printed"] += "".join(printed)
            exported.update(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
            path += files["GITHUB_PATH"].read_text().splitlines()
            outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
            if "id" in step:
                steps[step["id"]] = {"outputs": outputs}
            left["summary"] += files["GITHUB_STEP_SUMMARY"].read_text()
        for folder in caches:
            keep_cache("github", folder, True)
        left["outputs"] = {key: self.expand(text, local) for key, text in job.get("outputs", {}).items()}
        self.needs[name] = {"outputs": left["outputs"]}

    def action(self, name, options, work, left, caches):
        action = name.split("@")[0]
        if action == "actions/checkout":
            checkout(work)
        elif action == "actions/cache":
            caches.append(pathlib.Path(options["path"]))
            keep_cache("github", caches[-1], False)
        elif action == "actions/upload-artifact":
            left["artifacts"][options["name"]] = pathlib.Path(options["path"]).read_text()
        else:
            stop(f"an action that is not known here: {name}")

    def run(self):
        for name, job in document["jobs"].items():
            # A job is skipped with those that it needs.
            if self.holds(job.get("if"), {}) and not set(job.get("needs", "").split()) - set(self.needs):
                self.job(name, job)


class GitLab:
    """The part of GitLab's job description that the file uses."""

    def run(self):
        shell = values.pop("shell").split()
        tokens = values.pop("id_tokens")
        reports = {}
        keywords = {"stages", "workflow", "variables", "default", "include"}
        jobs = {name: job for name, job in document.items() if name not in keywords and not name.startswith(".")}
        for name, job in sorted(jobs.items(), key=lambda item: document["stages"].index(item[1]["stage"])):
            whole = {**document.get(job.get("extends", ""), {}), **job}
            folder = scratch / f"gitlab-{name}"
            work = folder / "project"
            if whole.get("variables", {}).get("GIT_STRATEGY") == "none":
                work.mkdir(parents=True)
            else:
                checkout(work)
            pathlib.Path(f"{work}.tmp").mkdir()
            left = result["jobs"][name] = {"artifacts": {}}
            environment = {**inherited, "HOME": str(folder), "CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(work),
                           **values, **whole.get("variables", {}), **reports}
            for token, settings in whole.get("id_tokens", {}).items():
                environment[token] = tokens[settings["aud"]]
            cached = [work / path for path in whole.get("cache", {}).get("paths", [])]
            for each in cached:
                keep_cache("gitlab", each, False)
            # The runner puts the lines of both lists into one script.
            text = "set -e\n" + "\n".join(whole["before_script"] + whole["script"]) + "\n"
            script = folder / "script.sh"
            script.write_text(text)
            left["printed"] = "".join(run(shell, str(script), environment, work, name))
            for each in cached:
                keep_cache("gitlab", each, True)
            artifacts = whole.get("artifacts", {})
            for path in artifacts.get("paths", []):
                left["artifacts"][path] = (work / path).read_text()
            report = artifacts.get("reports", {}).get("dotenv")
            if report:
                left["dotenv"] = dict(line.split("=", 1) for line in (work / report).read_text().splitlines())
                reports.update(left["dotenv"])


{"github": GitHub, "gitlab": GitLab}[system]().run()
json.dump(result, sys.stdout, indent=1)
