// Package e2e tests Clone as its users meet it: the clone program, stock Debian kernels, a real root file system, on a
// KVM host. It needs root, /dev/kvm that runs a stock kernel, bin/clone, and the kernels and image that `make test`
// puts into the cache; `make test` runs it, in an emulated host where there is no other.
//
// Every claim is checked by its effect: what a command in the guest answers, bytes on the other side, an exit status.
// With CLONE_E2E_SHARD=i/n only the i-th of n parts of the tests runs.
package e2e
