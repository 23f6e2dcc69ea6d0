package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// endingSignals are those that ask this process to end, and what others its caller waits for. A SIGHUP that is ignored is
// none of them: that is what nohup(1) is for, and asking for it would undo that.
func endingSignals(others ...os.Signal) []os.Signal {
	list := append([]os.Signal{unix.SIGINT, unix.SIGTERM}, others...)
	if !signal.Ignored(unix.SIGHUP) {
		list = append(list, unix.SIGHUP)
	}
	return list
}

// untilSignal is a context that ends when this process is asked to.
func untilSignal(ctx context.Context, others ...os.Signal) (_ context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(ctx, endingSignals(others...)...)
}

// keepOutput makes writing to a pipe that nobody reads an error: for standard output and error it is else the death of
// this process (os/signal, SIGPIPE).
func keepOutput() (stop func()) {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	return func() { signal.Stop(pipe) }
}
