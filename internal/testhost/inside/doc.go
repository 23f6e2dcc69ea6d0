// Package inside is process 1 of the emulated test host: it loads the kernel's
// modules, puts a tmpfs overlay over the root file system, moves into it, runs one
// command and reports its output and exit status.
//
// It runs in the program that package testhost names as the host's init, usually
// the very program that started the host. It is not a general init: it starts one
// command, adopts and reaps what that leaves behind, and ends with it.
//
// Reading order: [Order], what it is told; [Kind] and [FrameWriter], how it talks
// to the other side; [Main].
package inside
