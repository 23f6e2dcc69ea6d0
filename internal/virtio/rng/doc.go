// Package rng is the entropy device (virtio 1.2 §5.4): it fills what the driver hands it with random bytes.
//
// It is no generator: the bytes are the source's, read anew for every request. So two forks of one machine never get
// the same bytes, and there is nothing to save.
//
// Main types in reading order: [Device]; request.go answers one chain, state.go is what a snapshot holds.
//
// Rules: a request is answered in full or with fewer bytes, never with bytes that the source did not give; one
// request never takes more than requestMax bytes from the host.
package rng
