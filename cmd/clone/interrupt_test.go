package main

import (
	"os"
	"os/signal"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// nohup(1) ignores SIGHUP, and to be notified of it would end that.
func TestHangUpThatIsIgnored(t *testing.T) {
	heed := func() { // signal.Reset does not end signal.Ignore
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGHUP)
		signal.Stop(c)
	}
	if signal.Ignored(unix.SIGHUP) { // the tests themselves may run under nohup
		defer signal.Ignore(unix.SIGHUP)
	} else {
		defer heed()
	}
	heed()
	if !slices.Contains(endingSignals(), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP does not end a command")
	}
	signal.Ignore(unix.SIGHUP)
	if slices.Contains(endingSignals(unix.SIGQUIT), os.Signal(unix.SIGHUP)) {
		t.Error("SIGHUP ends a command under nohup")
	}
}
