"""What a release has renamed in a project: modules, and names that went to another module.

An update moves a project's files by it and rewrites what the team's own code says of them
(merge/relocate.py), before anything is merged.
"""

from dataclasses import dataclass, field

from scaffold.template.releases import numbers

Name = tuple[str, str]  # a module, and what stands in it


@dataclass(frozen=True, eq=False)
class Renames:
    """What has another name now. Modules by their dotted names, as a project imports them."""

    modules: dict[str, str] = field(default_factory=dict)
    names: dict[Name, Name] = field(default_factory=dict)  # what did not move with its module

    def __bool__(self) -> bool:
        """Whether anything has."""
        return bool(self.modules or self.names)

    def of(self, module: str, name: str) -> Name:
        """Where a name of a module is now."""
        return self.names.get((module, name), (self.modules.get(module, module), name))

    def concerns(self, module: str) -> bool:
        """Whether a module, or anything in it, has another name now."""
        return module in self.modules or any(old == module for old, _ in self.names)

    def then(self, later: "Renames") -> "Renames":
        """What this one and a later one together do to the names of before."""
        before = {new: old for old, new in self.modules.items()}
        modules = {before.get(old, old): new for old, new in later.modules.items()}
        modules = {old: later.modules.get(new, new) for old, new in self.modules.items()} | modules
        names = {(before.get(old, old), name): new for (old, name), new in later.names.items()}
        return Renames(modules, names | {old: later.of(*new) for old, new in self.names.items()})

    def within(self, modules: set[str]) -> "Renames":
        """Those of these modules alone: what a project did not get from us is its team's."""
        return Renames(
            {old: new for old, new in self.modules.items() if old in modules},
            {old: new for old, new in self.names.items() if old[0] in modules},
        )

    def under(self, package: str) -> "Renames":
        """The same in a package, of a project whose files have moved into one."""

        def inside(module: str) -> str:
            return f"{package}.{module}" if package else module

        return Renames(
            {inside(old): inside(new) for old, new in self.modules.items()},
            {(inside(o), name): (inside(n), new) for (o, name), (n, new) in self.names.items()},
        )


def _moved(names: dict[str, list[str]], target: str) -> dict[Name, Name]:
    """The names of some modules that are in a new module now."""
    return {(module, name): (target, name) for module, found in names.items() for name in found}


BY_RELEASE = {
    "0.2.0": Renames(
        names={
            **_moved({"model": ["build_optimizer", "learning_rate"]}, "optimizer"),
            **_moved({"config": ["is_first", "leave_if"]}, "errors"),
            **_moved({"config": ["parse", "problems", "toml_flags"]}, "settings"),
            **_moved({"runtime": ["Log", "kept_lines"]}, "log"),
            **_moved({"data": ["ShardedBatches"]}, "sharding"),
            **_moved({"data": ["build_loader", "build_val_loader", "to_device"]}, "loading"),
            **_moved({"checkpoint": ["FORMAT", "damage", "size_and_crc32", "sync"]}, "storage"),
            **_moved({"checkpoint": ["random_state", "set_random_state"]}, "generators"),
        }
    ),
    "0.4.0": Renames(
        modules={
            "causes": "engine.hints",
            "checkpoint": "engine.checkpoint",
            "diagnose": "engine.profiling",
            "errors": "engine.errors",
            "evaluation": "engine.evaluation",
            "faults": "engine.failures",
            "generators": "engine.random_state",
            "history": "engine.retention",
            "loading": "engine.dataloader",
            "log": "engine.metrics",
            "mapped": "engine.memmap",
            "replicas": "engine.replicas",
            "rundir": "engine.run_dir",
            "runtime": "engine.distributed",
            "settings": "engine.settings",
            "sharding": "engine.sampler",
            "signals": "engine.signals",
            "storage": "engine.storage",
            "trained": "engine.inference",
            "watchdog": "engine.watchdog",
        },
        names={
            **_moved({"runtime": ["mix", "seed_everything"]}, "engine.random_state"),
            **_moved({"checkpoint": ["WRITER", "writing"]}, "engine.async_writer"),
            **_moved({"diagnose": ["report", "show", "SHOWN"]}, "engine.check"),
            ("checkpoint", "finish_writing"): ("engine.async_writer", "finish"),
        },
    ),
    "0.5.0": Renames(
        names={
            **_moved(
                {"engine.dataloader": ["Augment", "Reader", "ValReader", "Numbers"]},
                "engine.reader",
            ),
            **_moved({"engine.dataloader": ["to_device"]}, "engine.batch"),
            **_moved({"engine.evaluation": ["count"]}, "engine.batch"),
            **_moved({"engine.metrics": ["peak_memory"]}, "engine.resources"),
        }
    ),
    "0.6.0": Renames(
        names={
            **_moved(
                {"engine.signals": ["end_with_launcher", "launcher_is_gone", "is_python"]},
                "engine.launcher",
            ),
            **_moved(
                {"engine.signals": ["end_with_parent", "start_forkserver", "HEAVY"]},
                "engine.workers",
            ),
            **_moved({"engine.distributed": ["threads_are_set"]}, "engine.resources"),
            **_moved({"engine.signals": ["LAUNCHER"]}, "engine.variables"),
            **_moved(
                {"engine.run_dir": ["OVER", "failure", "tell", "tell_failure", "tell_refusal"]},
                "engine.run_state",
            ),
            ("engine.run_dir", "STATE"): ("engine.run_state", "FILE"),
            ("engine.run_dir", "state"): ("engine.run_state", "read"),
            **_moved({"engine.storage": ["Summed", "size_and_crc32"]}, "engine.checksum"),
        }
    ),
    "0.8.0": Renames(
        names={
            **_moved({"engine.settings": ["device_problems", "problems"]}, "engine.limits"),
            **_moved({"engine.checkpoint": ["copied"]}, "engine.state"),
            **_moved({"engine.checkpoint": ["EXECUTION"]}, "engine.optimizer_state"),
            **_moved({"engine.replicas": ["simple"]}, "engine.state"),
        }
    ),
}


def renames_between(old: str, new: str) -> Renames:
    """All that the releases after the old version, up to the new one, have renamed."""
    total = Renames()
    for version in sorted(BY_RELEASE, key=numbers):
        if numbers(old) < numbers(version) <= numbers(new):
            total = total.then(BY_RELEASE[version])
    return total
