"""The calls that a random scenario is made of. Each writes one line, sometimes two, and notes what it changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.world import HUGE_SIZES, HUGETLB_SIZES, SIZES, Actor, Region, World

__all__ = ["CALLS", "QUIET", "Call", "reached"]

HEAP = "heap"
GROUP = "/sys/fs/cgroup/t1"

MODES = ("default", "preferred", "bind", "interleave", "local", "preferred_many", "weighted_interleave")
ADVICE = (
    *("dontneed", "free", "pageout", "cold", "willneed") * 2,
    *("populate_read", "populate_write", "dontfork", "dofork", "sequential", "random", "normal", "mergeable"),
    *(
        "unmergeable",
        "nohugepage",
        "collapse",
        "wipeonfork",
        "keeponfork",
        "dontdump",
        "dodump",
        "remove",
        "99",
    ),
)
KINDS = ("private", "private", "private", "shared", "shared", "file", "filecopy", "memfd")

#: Writes its lines; returns the region to look at afterwards, or None.
Call = Callable[[World, Actor], "Region | None"]


def on_region(write: Callable[[World, Actor, Region], object]) -> Call:
    """A call that needs a region; without one, one is mapped instead."""

    def call(world: World, actor: Actor) -> Region | None:
        region = world.region(actor)
        if region is None:
            return mmap(world, actor)
        write(world, actor, region)
        return actor.regions.get(region.name)

    return call


# ---------------------------------------------------------------- address space


def mmap(world: World, actor: Actor) -> Region | None:
    if len(actor.regions) >= 5 or world.names >= 20:
        return touch(world, actor)
    name, kind, pages = world.new_name(), world.rng.choice(KINDS), world.rng.choice(SIZES)
    if world.hugetlb and world.chance(40):
        kind, pages = (
            world.rng.choice(("hugetlb", "hugetlb", "hugetlb-shared")),
            world.rng.choice(HUGETLB_SIZES),
        )
    elif world.huge and kind == "private" and world.chance(60):
        pages = world.rng.choice(HUGE_SIZES)
    words, path = [f"mmap {name} {pages}"], ""
    if kind.startswith("hugetlb"):
        words += ["kind=shared"] * (kind == "hugetlb-shared")
    elif kind == "shared":
        words.append("kind=shared")
    elif kind != "private":
        path = (
            f"memfd:{name}"
            if kind == "memfd"
            else f"{world.rng.choice(world.directories)}/{world.rng.choice('uvw')}"
        )
        if path not in world.files:
            world.files[path] = world.rng.choice(SIZES)
            world.say(
                actor,
                f"memfd {name} {world.files[path]}"
                if kind == "memfd"
                else f"file {path} {world.files[path]}",
            )
        words.append(f"kind={'private' if kind == 'filecopy' else 'shared'} file={path}")
        if world.chance(25):
            words.append(f"off={world.rng.randint(1, 4)}")
    if world.chance(15):
        words.append(f"prot={world.rng.choice(('r', 'rw', 'rx', '-', 'w'))}")
    huge = kind.startswith("hugetlb")
    known = (("hugetlb", 100 * huge), ("populate", 15), ("locked", 6), ("noreserve", 60 if huge else 8))
    if flags := ",".join(flag for flag, percent in known if world.chance(percent)):
        words.append(f"flags={flags}")
    world.say(actor, " ".join(words))
    region = actor.regions[name] = Region(name, pages, kind, path, hazy=path in world.blurred)
    reached(world, actor, region)
    # Not where pages are already: khugepaged would make a huge one of them, some time.
    present = "populate" in flags or "locked" in flags
    if present:
        world.used.add(name)
    if kind == "private" and pages in HUGE_SIZES and not present and world.chance(70):
        world.say(actor, f"madvise {name} hugepage")
    return actor.regions[name]


def mmap_over(world: World, actor: Actor, region: Region) -> None:
    """Private memory in the middle of private memory."""
    if region.kind != "private" or world.names >= 20:
        touching(world, actor, region)
        return
    name, pages = world.new_name(), world.rng.randint(1, region.pages)
    world.say(
        actor,
        f"mmap {name} {pages} at={world.place(region)}{world.rng.choice(('', ' prot=r', ' flags=populate'))}",
    )
    actor.regions[name] = Region(name, pages, "private")
    world.used.add(name)


def brk(world: World, actor: Actor) -> Region | None:
    """The heap, always by the same name."""
    pages = world.rng.choice((*SIZES, 0))
    if pages == 0 and HEAP not in actor.regions:
        pages = 4
    world.say(actor, f"brk {HEAP} {pages}")
    if pages == 0:
        actor.regions.pop(HEAP, None)
        return None
    actor.regions[HEAP] = Region(HEAP, pages, "private")
    return actor.regions[HEAP]


def munmap(world: World, actor: Actor, region: Region) -> None:
    if world.chance(15):
        world.say(actor, f"drop {region.name}")
        del actor.regions[region.name]
    else:
        world.say(actor, f"munmap {world.part(region)}")


def mprotect(world: World, actor: Actor, region: Region) -> None:
    world.say(
        actor, f"mprotect {world.part(region)} {world.rng.choice(('r', 'rw', 'rw', '-', 'rx', 'rwx', 'w'))}"
    )


def mremap(world: World, actor: Actor, region: Region) -> None:
    pages = world.rng.choice(HUGETLB_SIZES if region.unit > 1 else SIZES)
    if world.chance(60):
        world.say(actor, f"mremap {region.name} {pages}")
        actor.regions[region.name] = replace(region, pages=pages)
    else:
        # Not maymove alone: where the kernel puts a region, memory of the recorder's lies beside it.
        flags = world.rng.choice(("0", "maymove|dontunmap", "maymove|fixed", "fixed", "dontunmap", "0x8"))
        world.say(actor, f"mremap {world.part(region)} {pages} flags={flags}")


def mlock(world: World, actor: Actor, region: Region) -> None:
    world.used.add(region.name)
    if world.chance(30):
        world.say(actor, f"munlock {world.part(region)}")
    else:
        world.say(
            actor, f"mlock {world.part(region)}{world.rng.choice(('', '', ' flags=onfault', ' flags=0'))}"
        )


def advice(world: World, region: Region, *known: str) -> str:
    """Some advice. What another CPU has touched may lie in that CPU's batch, where reclaim does not find it."""
    word = world.rng.choice([word for word in known if not world.moved or word not in {"cold", "pageout"}])
    if word.startswith("populate"):
        world.used.add(region.name)
    elif word == "cold":
        world.aged.add(region.name)
    return word


def madvise(world: World, actor: Actor, region: Region) -> None:
    reached(world, actor, region)
    world.say(actor, f"madvise {world.part(region)} {advice(world, region, *ADVICE)}")


def process_madvise(world: World, actor: Actor, region: Region) -> None:
    reached(world, actor, region)
    what = advice(world, region, "cold", "pageout", "willneed", "dontneed", "normal", "collapse")
    who = world.rng.choice(("self", "me", *world.actors, *world.zombies()))
    flags = " flags=1" if world.chance(4) else ""
    world.say(actor, f"process_madvise {who} {world.part(region)},{world.part(region)} {what}{flags}")


# ---------------------------------------------------------------- access


def reached(world: World, actor: Actor, region: Region) -> None:
    """Somebody uses memory that may have to be found by the task's own interleaving, or by an inode's number."""
    if actor.interleaves and (region.shared or region.path):
        world.blur(region.path or region.name)


def touching(world: World, actor: Actor, region: Region) -> None:
    reached(world, actor, region)
    how = world.rng.choice(("r", "w", "w", "w"))
    # Behind a fork the recorder's own pages are copied in the middle of a touch.
    faults = " faults=1" if world.chance(30) and len(world.actors) + len(world.dead) == 1 else ""
    world.say(actor, f"touch {world.part(region)} {how}{faults}")


touch = on_region(touching)


def fill(world: World, actor: Actor, region: Region) -> None:
    reached(world, actor, region)
    world.say(actor, f"fill {world.part(region)} {world.rng.randint(1, 3)}")


def verify(world: World, actor: Actor, region: Region) -> None:
    reached(world, actor, region)
    world.say(actor, f"verify {world.part(region)} {world.rng.randint(1, 3)}")


# ---------------------------------------------------------------- policy


def mode_and_mask(world: World) -> str:
    mode = world.rng.choice(MODES)
    if world.chance(20):
        mode += world.rng.choice(("|static", "|relative", "|static|relative", "|balancing"))
    if world.chance(3):
        mode = world.rng.choice(("7", "42", "0x10000", "-1"))
    plain = mode.partition("|")[0]
    mask = world.mask()
    if plain in {"default", "local"} and world.chance(85):
        mask = world.rng.choice(("null", "{}"))
    return f"{mode} {mask}{world.maxnode()}"


def set_mempolicy(world: World, actor: Actor) -> Region | None:
    what = mode_and_mask(world)
    world.say(actor, f"set_mempolicy {what}")
    if "interleave" in what:
        actor.interleaves = True
    return None


def mbind(world: World, actor: Actor, region: Region) -> None:
    what = mode_and_mask(world)
    flags = world.flags("STRICT", "MOVE", "MOVE_ALL")
    if (region.shared or region.path) and ("interleave" in what or actor.interleaves):
        world.blur(region.path or region.name)
    if actor.regions[region.name].hazy:  # STRICT says where the pages are
        flags = "|".join(flag for flag in flags.split("|") if flag != "STRICT")
    world.say(actor, f"mbind {world.part(region)} {what}{f' flags={flags}' if flags else ''}")


def get_mempolicy(world: World, actor: Actor, region: Region) -> None:
    words = ["get_mempolicy"]
    if flags := world.flags("NODE", "ADDR", "MEMS_ALLOWED"):
        words.append(f"flags={flags}")
    if not region.hazy and not ("NODE" in flags and region.huge) and ("ADDR" in flags or world.chance(5)):
        words.append(f"addr={world.place(region)}")
        world.used.add(region.name)
    if world.chance(8):
        words.append(
            world.rng.choice(("mode=null", "mask=null", "mask=bad", "maxnode=1", "maxnode=65", "maxnode=0"))
        )
    if flags == "NODE" and actor.interleaves:
        return  # where a task's own interleaving stands depends on all that it ever allocated
    world.say(actor, " ".join(words))


def set_home_node(world: World, actor: Actor, region: Region) -> None:
    flags = " flags=1" if world.chance(5) else ""
    world.say(actor, f"set_home_node {world.part(region)} {world.node()}{flags}")


def weights(world: World, actor: Actor) -> Region | None:
    node = world.rng.choice(world.machine.memory)
    value = world.rng.choice(("1", "2", "3", "5", "0", "256", "x"))
    world.say(actor, f"write /sys/kernel/mm/mempolicy/weighted_interleave/node{node} {value}")
    return None


# ---------------------------------------------------------------- migration


def target(world: World, actor: Actor) -> str:
    if world.chance(40):
        return "self"
    if world.chance(85):
        return world.rng.choice(list(world.actors))
    return world.rng.choice(("me", "nopid", "kthread", *world.zombies()))


def counted(world: World, actor: Actor, region: Region) -> None:
    """What mbind or move_pages does, by the kernel's counters too."""
    if region.hazy:  # they would say where its pages were
        mbind(world, actor, region)
        return
    world.say(actor, "vmstat mark")
    world.rng.choice((mbind, move_pages))(world, actor, region)
    world.say(actor, "vmstat pgmigrate_success pgmigrate_fail")


def migrate_pages(world: World, actor: Actor) -> Region | None:
    world.say(
        actor, f"migrate_pages {target(world, actor)} {world.mask()} {world.mask()}{world.maxnode()} coarse=1"
    )
    return world.region(actor)


def move_pages(world: World, actor: Actor, region: Region) -> None:
    if region.hazy:  # the statuses say where the pages are
        touching(world, actor, region)
        return
    rng = world.rng
    # Each small page of a huge one moves all of it: an emulated machine would be at it for minutes.
    one = world.place if region.huge or region.unit > 1 else world.part
    pages = ",".join(one(region) for _ in range(rng.randint(1, 3)))
    if world.chance(8):
        pages += rng.choice((",null", ",bad", ",kern", f",{region.name}+{region.pages}"))
    nodes = world.rng.choice(
        (
            str(world.node()),
            ",".join(str(world.node()) for _ in range(rng.randint(2, 4))),
            f"cycle:{world.node()},{world.node()}",
        )
    )
    if world.chance(10):
        nodes = "query"
    words = [f"move_pages {target(world, actor)} {pages} {nodes}"]
    if flags := world.flags("MOVE", "MOVE_ALL"):
        words.append(f"flags={flags}")
    if world.chance(3):
        words.append(rng.choice(("count=0", "status=bad", "status=null", "count=2")))
    world.say(actor, " ".join(words))


# ---------------------------------------------------------------- processes, rights, scarcity


def spawn(world: World, actor: Actor) -> Region | None:
    unused = [name for name in ("p", "q", "r") if name not in world.actors and name not in world.dead]
    if not unused:
        return touch(world, actor)
    world.say(actor, f"spawn {unused[0]}")
    world.actors[unused[0]] = actor.child(unused[0])
    world.aged |= actor.regions.keys()
    return world.region(actor)


def leave(world: World, actor: Actor) -> Region | None:
    if actor.name == "main":
        return touch(world, actor)
    if world.chance(30):
        world.say(actor, "exec")
        actor.regions.clear()
        return None
    world.say(actor, "exit")
    del world.actors[actor.name]
    world.dead[actor.name] = actor.parent
    return None


def affinity(world: World, actor: Actor) -> Region | None:
    node = world.rng.choice(world.machine.cpus)
    world.moved = True
    world.say(actor, f"setaffinity node={node}" if world.chance(90) else "setaffinity node=9")
    return None


def weaken(world: World, actor: Actor) -> Region | None:
    """Only who is not main: a machine without a strong process is dull."""
    if actor.name == "main":
        return affinity(world, actor)
    world.say(
        actor,
        world.rng.choice(
            (
                "setuid 1000", "seteuid 1000", "setuid 1001", "dumpable 0", "drop_cap sys_nice",
                "drop_cap sys_ptrace", "drop_cap ipc_lock", "drop_cap all", "rlimit_memlock 4",
            )
        ),
    )  # fmt: skip
    return None


def cpuset(world: World, actor: Actor) -> Region | None:
    """A group with nodes of its own: made, changed, joined."""
    if not world.group:
        world.group = True
        world.say(world.actors["main"], f"mkdir {GROUP}")
    nodes = ",".join(map(str, world.nodes()))
    if world.chance(6):
        nodes = world.rng.choice(
            (str(world.machine.missing), "x", "0-", f"{world.rng.choice(world.machine.cpus)}")
        )
    what = world.rng.randrange(10)
    if what < 4:
        world.say(world.actors["main"], f"write {GROUP}/cpuset.mems {nodes}")
    elif what == 4:
        world.moved = True
        world.say(world.actors["main"], f"write {GROUP}/cpuset.cpus {world.rng.choice(world.machine.cpus)}")
    else:
        world.say(actor, f"cgjoin {GROUP if world.chance(80) else '/sys/fs/cgroup'}")
    return world.region(actor)


def pin(world: World, actor: Actor, region: Region) -> None:
    if world.pinned:
        world.say(actor, "unpin")
    elif region.hazy:  # whether it is in the way of a migration says where it is
        touching(world, actor, region)
        return
    else:
        world.say(actor, f"pin {world.place(region)}:1")
        world.used.add(region.name)
    world.pinned = not world.pinned


def swap(world: World, actor: Actor) -> Region | None:
    world.say(world.actors["main"], "swapoff" if world.swap else "swapon")
    world.swap = not world.swap
    return world.region(actor)


def mount(world: World, actor: Actor) -> Region | None:
    """A tmpfs with a policy for its files, and with the first region of one of them."""
    if len(world.directories) > 2:
        return mmap(world, actor)
    path = f"/tmp/m{len(world.directories)}"
    mode = world.rng.choice(("bind", "bind", "prefer", "interleave", "local", "default", "weighted"))
    nodes = ",".join(map(str, world.nodes() if mode != "prefer" else [world.node()]))
    words = mode + world.rng.choice(("", "", "=static", "=relative"))
    if mode not in {"local", "default"} or world.chance(10):
        words += f":{nodes}"
    world.say(world.actors["main"], f"mount_tmpfs {path} mpol={words}")
    world.directories.append(path)
    if mode == "interleave":
        world.blurred |= {f"{path}/{name}" for name in "uvw"}
    return mmap(world, actor)


def pool(world: World, actor: Actor) -> Region | None:
    """The pool of huge pages grows or shrinks on a node, and regions are made of them from now on."""
    world.hugetlb = True
    node = world.rng.choice(world.machine.memory)
    path = f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB"
    world.say(world.actors["main"], f"write {path}/nr_hugepages {world.rng.choice((0, 1, 2, 2, 3, 4))}")
    if world.chance(30):
        world.say(actor, "cat /proc/meminfo grep=HugePages_")
    return world.region(actor)


def resize(world: World, actor: Actor, region: Region) -> None:
    """Change the file behind a region, as far as there is one."""
    if not region.path:
        touching(world, actor, region)
        return
    pages, rng = world.files[region.path], world.rng
    if region.kind != "memfd" and world.chance(40):
        world.files[region.path] = rng.choice(SIZES)
        world.say(actor, f"file {region.path} {world.files[region.path]}")
    elif world.chance(50):
        world.say(
            actor,
            f"fallocate {region.path} {rng.randrange(pages)} {rng.randint(1, 5)} flags=punch_hole|keep_size",
        )
    else:
        world.say(
            actor,
            f"{rng.choice(('pread', 'pwrite'))} {region.path} {rng.randrange(pages)} {rng.randint(1, 3)}",
        )
        reached(world, actor, region)


FILL, MPROTECT, MLOCK, VERIFY = (on_region(call) for call in (fill, mprotect, mlock, verify))
#: Calls that free no frame.
QUIET = frozenset({touch, FILL, MPROTECT, MLOCK, VERIFY, spawn, affinity, weaken})

#: How often each is chosen. Pairs of features that meet rarely are what this is for, so nothing is very rare.
CALLS: dict[Call, int] = {
    mmap: 9,
    on_region(mmap_over): 2,
    brk: 2,
    on_region(munmap): 3,
    MPROTECT: 4,
    on_region(mremap): 4,
    MLOCK: 4,
    on_region(madvise): 7,
    on_region(process_madvise): 2,
    touch: 10,
    FILL: 6,
    VERIFY: 4,
    set_mempolicy: 6,
    on_region(mbind): 14,
    on_region(get_mempolicy): 4,
    on_region(set_home_node): 2,
    weights: 2,
    migrate_pages: 10,
    on_region(counted): 3,
    on_region(move_pages): 10,
    spawn: 6,
    leave: 3,
    affinity: 3,
    weaken: 4,
    cpuset: 4,
    on_region(pin): 2,
    swap: 1,
    mount: 2,
    pool: 1,
    on_region(resize): 2,
}
