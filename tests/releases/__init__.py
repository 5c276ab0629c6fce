"""What earlier releases left behind, for tests of the upgrade: recorded by `deploy/record-release`."""
