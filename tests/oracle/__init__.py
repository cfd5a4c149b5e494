"""The recorder: boots a stock kernel under QEMU and lets it answer the scenarios of tests/conformance."""
