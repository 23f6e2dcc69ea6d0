package main

import "golang.org/x/sys/unix"

// A terminal has a foreground process group: what is typed there is for it, and Ctrl-C and Ctrl-\ are signals to all of its
// processes. The shell makes a group of each of its jobs (credentials(7), tty_ioctl(4)).

// interruptible tells whether Ctrl-C at the terminal is a signal to this process, and to its children with it. It is not
// without a terminal, in the background, and where the terminal is raw.
func interruptible() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	modes, err := unix.IoctlGetTermios(tty, unix.TCGETS)
	return err == nil && !inBackground(tty) && modes.Lflag&unix.ISIG != 0
}

// inBackground tells whether this process would be stopped (SIGTTOU) if it changed this terminal. The terminal of another
// session stops nobody.
func inBackground(tty int) bool {
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
}
