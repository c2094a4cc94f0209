"""The same line by torch: gloo averages the gradients over the master's port."""
import json
import os
import pathlib

import torch
from torch import distributed

from learn import code, data

here = pathlib.Path(__file__).resolve().parent
settings = json.loads((here / "config.json").read_text())
rank, count = int(os.environ["PET_NODE_RANK"]), int(os.environ["PET_NNODES"])
master = f"tcp://{os.environ['PET_MASTER_ADDR']}:{os.environ['PET_MASTER_PORT']}"
distributed.init_process_group("gloo", init_method=master, rank=rank, world_size=count)
print(f"rank {rank} of {count}: code {code.digest(here)}", flush=True)
torch.manual_seed(0)
points = torch.from_numpy(data.load(here / "data" / "points.csv")[rank::count]).float()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=settings["rate"])
for _ in range(settings["steps"]):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(points[:, :1]), points[:, 1:])
    loss.backward()
    optimizer.step()
slope, offset = (value.item() for value in model.module.parameters())
print(f"rank {rank} of {count}: {settings['name']}: y = {slope:.3f} x + {offset:.3f}", flush=True)
distributed.destroy_process_group()
