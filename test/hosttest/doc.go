// Package hosttest boots emulated hosts to test cmd/testhost as its users see it:
// streams, exit statuses, deadlines, and that nothing is left behind. It needs
// root, bin/testhost and what tools/install-deps installs; make test runs it.
package hosttest
