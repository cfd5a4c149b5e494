from numalab.mm._migrate import MigrateStats as MigrateStats
from numalab.mm._migrate import Target as Target
from numalab.mm._migrate import migrate_batch as migrate_batch
from numalab.mm._migrate import queue_range as queue_range

def set_copying(on: bool) -> None: ...
