"""The program that a pod's Python runs, for `python -c`: it knows nothing of this package."""

LOADER = """\
import os, sys
before, here = sys.path[:], os.getcwd()
sys.path[:] = [each for each in before if each not in ("", here)]
import asyncio, importlib, importlib.machinery, importlib.util, inspect, json
what, words = json.loads(sys.argv[1]), sys.argv[2:]
root = os.path.join(here, *what["path"])
sys.path[:] = [root, *before]
if "file" in what:
    path = os.path.join(root, what["file"])
    name = what["module"]
    while name in sys.modules:
        name += "_"
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    sys.argv[:] = [path]
    loader.exec_module(module)
else:
    sys.argv[:] = [what["module"]]
    module = importlib.import_module(what["module"])
target = module
for part in what["call"].split("."):
    target = getattr(target, part)
positional, named = [], {}
for word in words:
    key, equals, text = word.partition("=")
    if equals and key.isidentifier():
        named[key] = json.loads(text)
    else:
        positional.append(json.loads(word))
result = target(*positional, **named)
if inspect.iscoroutine(result):
    asyncio.run(result)
"""
"""Its words: what to call, as JSON; then each argument, JSON by position, `name=JSON` by name."""
