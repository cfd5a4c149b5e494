"""KernelError and the names of the kernel's error numbers."""

import errno

import pytest

from numalab.arch import errno as e


def test_str_names_the_errno_and_the_reason() -> None:
    assert str(e.KernelError(e.EINVAL, "empty node mask")) == "EINVAL: empty node mask"
    assert str(e.KernelError(e.ESRCH)) == "ESRCH: No such process"


def test_sign_does_not_matter() -> None:
    error = e.KernelError(-errno.EFAULT)
    assert error.errno == errno.EFAULT
    assert error.name == "EFAULT"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.EAGAIN, "EAGAIN"),
        (errno.EOPNOTSUPP, "EOPNOTSUPP"),
        (e.ENOTSUPP, "ENOTSUPP"),
        (4000, "errno 4000"),
    ],
)
def test_names_are_the_kernels(number: int, name: str) -> None:
    assert e.errno_name(number) == name
    assert e.errno_name(-number) == name


def test_every_exported_number_is_pythons() -> None:
    for name in e.__all__:
        if name.startswith("E") and hasattr(errno, name) and name != "ENOTSUPP":
            assert getattr(e, name) == getattr(errno, name)


def test_kernel_only_numbers_have_a_sentence() -> None:
    assert e.strerror(e.ENOTSUPP) == "Operation is not supported"
