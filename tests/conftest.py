"""What every test run shares: Hypothesis profiles, and the rule that no test is skipped in silence."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")

# NUMALAB_HYPOTHESIS chooses. fast and ci try the same examples in every run, so that a change which fails
# them is the change's fault; night looks for new ones, and prints how to repeat what it finds.
settings.register_profile("fast", max_examples=25, stateful_step_count=30, deadline=None, derandomize=True)
settings.register_profile("ci", max_examples=200, stateful_step_count=50, deadline=None, derandomize=True)
settings.register_profile(
    "night",
    max_examples=1000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("NUMALAB_HYPOTHESIS") or "fast")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipGuard(read_allowed_skips()), "numalab-skip-guard")


def read_allowed_skips() -> list[str]:
    """Return the listed test ids; a line that gives no reason is an error of use."""
    listed = []
    for line in ALLOWED_SKIPS.read_text().splitlines():
        test, _, why = map(str.strip, line.partition("#"))
        if test and not why:
            raise pytest.UsageError(f"{ALLOWED_SKIPS.name}: say why {test} may be skipped, after a #")
        if test:
            listed.append(test)
    return listed


class SkipGuard:
    """Fail the run for each skipped test that is not listed.

    Under xdist the workers see the skips, those of whole modules included, and hand them to the controller
    when they end; only the controller judges.
    """

    def __init__(self, listed: list[str]) -> None:
        self.listed = listed
        self.skipped: dict[str, str] = {}

    def unlisted(self) -> dict[str, str]:
        return {test: why for test, why in self.skipped.items() if not is_listed(test, self.listed)}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            where = report.longrepr  # of a skip: (file, line, reason)
            self.skipped[report.nodeid] = where[2] if isinstance(where, tuple) else str(where)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        self.skipped.update(getattr(node, "workeroutput", {}).get("numalab_skipped", {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["numalab_skipped"] = self.skipped
        elif self.unlisted() and session.exitstatus in {0, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if unlisted := self.unlisted():
            terminalreporter.section(f"the run fails: skips not listed in {ALLOWED_SKIPS.name}", red=True)
            for test, why in unlisted.items():
                terminalreporter.line(f"{test}: {why}")


def is_listed(test: str, listed: list[str]) -> bool:
    """Whether a line names the test, its file, or the test without its parameters."""
    return any(test == entry or test.startswith((f"{entry}::", f"{entry}[")) for entry in listed)
