"""A random scenario from a seed: processes, regions, all NUMA calls, and a look at what came of each change."""

from __future__ import annotations

import random

from tests.fuzz.calls import CALLS, QUIET, pool, reached
from tests.fuzz.world import Actor, Region, World

__all__ = ["generate"]

#: Changes in a scenario.
SHORTEST, LONGEST = 12, 28


def generate(machine: str, seed: int) -> str:
    """The text of scenario ``seed`` for a machine; the same text every time."""
    rng = random.Random(f"{machine} {seed}")
    world = World(machine, rng)
    world.lines.append(f"# {machine} {seed}")
    if world.chance(20):
        world.huge = True
        world.lines.append(
            f"write /sys/kernel/mm/transparent_hugepage/enabled {rng.choice(('always', 'madvise'))}"
        )
    if world.chance(12):
        for _ in range(3):
            pool(world, world.actors["main"])
    calls, weights = list(CALLS), list(CALLS.values())
    for _ in range(rng.randint(SHORTEST, LONGEST)):
        actor = world.actor()
        [call] = rng.choices(calls, weights)
        if call not in QUIET:
            world.marked = ""
        seen = call(world, actor)
        if seen is not None:
            look(world, seen)
    for actor in world.actors.values():
        for region in actor.regions.values():
            world.say(actor, f"{'maps' if region.hazy else 'numa_maps'} {region.name}")
            world.say(actor, f"verify {region.name} 1")
            reached(world, actor, region)
    return "\n".join(world.lines) + "\n"


def look(world: World, region: Region) -> None:
    """One or two questions about a region, by whoever has it."""
    owners = [actor for actor in world.actors.values() if region.name in actor.regions]
    for _ in range(world.rng.choice((0, 1, 1, 2))):
        if owners:
            world.say(owner := world.rng.choice(owners), question(world, owner, owner.regions[region.name]))


def question(world: World, actor: Actor, region: Region) -> str:
    """Something that the kernel can be asked about a region without changing it."""
    part = world.part(region)
    questions = [*(f"{asked} {part}" for asked in ("mincore", "maps")), f"verify {part} 1"]
    if not region.huge:
        questions.append(f"state {part}")
        if world.marked == actor.prefix + region.name:
            questions.append(f"samepfn {region.name}")
        elif world.chance(10):
            world.marked = actor.prefix + region.name
            return f"samepfn {region.name} mark"
    if world.chance(8):
        return f"cat /proc/self/status grep={world.rng.choice(('Mems_allowed_list', 'Cpus_allowed_list'))}"
    if not region.hazy:
        questions += [f"{asked} {part}" for asked in ("nodes", "nodes", "count", "numa_maps")]
        if region.name not in world.used & world.aged:
            questions.append(f"smaps {part}")
    asked = world.rng.choice(questions)
    if asked.startswith("verify"):  # which may find pages to be made
        reached(world, actor, region)
    return asked
