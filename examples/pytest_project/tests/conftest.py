"""The library acts on a machine of ours in every test that asks for one."""

import nearby
import pytest


@pytest.fixture
def machine(numa_machine):
    numa_machine.patch(nearby, "libc")
    return numa_machine
