// Package cgroup gives the process of a VM a control group of its own (cgroup v2, Documentation/admin-guide/cgroup-v2.rst):
// limits of memory and processor time, the kernel's count of what the VM takes, and a record that outlives the process of
// whether the limit ended it.
//
// It is the kernel's files and no policy: who has limits, and what is told of a VM that met them, is the caller's business.
//
// Main types in reading order: [Limits], [Join], [Group].
//
// Rules:
//   - A VM without limits has no group. Nothing here is called for it.
//   - Groups are named clone-ID, after the VM, and lie below "clone" in the root of the hierarchy for root, beside the caller's
//     own group for others, and in $CLONE_CGROUP where that is set. Below the caller's own they cannot lie: a group that has
//     processes may not hand out controllers to children.
//   - A group is never removed while a process is in it: the kernel refuses, so reaping is safe whoever does it.
package cgroup
