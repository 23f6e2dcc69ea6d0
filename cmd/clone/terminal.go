package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"clone/internal/agent"
)

// rawTerminal makes a terminal raw, so that every key is the guest's, and returns what undoes it.
func rawTerminal(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("making the terminal raw: %w", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// windowSize is a terminal's size in characters, 0 by 0 where it is none.
func windowSize(f *os.File) (rows, cols uint16) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return uint16(h), uint16(w)
}

// signals hands the signals that this process gets to a command in a guest.
type signals struct {
	caught  chan os.Signal
	resized bool // the window's size has changed while there was no command to be told
	ended   chan struct{}
	wg      sync.WaitGroup
}

// errGivenUp is why a command is left that ignores being interrupted.
var errGivenUp = errors.New("given up")

// interruptsToGiveUp is how many SIGINT, SIGTERM, SIGHUP or SIGQUIT end clone exec although the command goes on: a guest that
// hangs cannot be interrupted.
const interruptsToGiveUp = 3

// catchSignals keeps signals from ending this process. SIGPIPE is among them: writing to a closed pipe is then an error.
func catchSignals() *signals {
	s := &signals{caught: make(chan os.Signal, 16), ended: make(chan struct{})}
	signal.Notify(s.caught, endingSignals(unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGPIPE)...)
	return s
}

// endBefore calls end at the first signal that should end this process, as long as there is no command to pass it to: until
// started is called. It returns the signal that came, nil for none. A new size of the window is left to forward.
func (s *signals) endBefore(end func()) (started func() os.Signal) {
	begun, over := make(chan struct{}), make(chan struct{})
	var came os.Signal
	go func() {
		defer close(over)
		for {
			select {
			case <-begun:
				return
			case caught := <-s.caught:
				switch caught {
				case unix.SIGWINCH:
					s.resized = true
				case unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2:
				default:
					came = caught
					end()
					return
				}
			}
		}
	}()
	var once sync.Once
	return func() os.Signal {
		once.Do(func() { close(begun) })
		<-over
		return came
	}
}

// forward passes signals to the process until stop. The window size goes as such, not as a signal.
func (s *signals) forward(process *agent.Process, size func() (rows, cols uint16), giveUp func(error)) {
	var resizing sync.Mutex // the last size is sent last
	resize := func() {
		resizing.Lock()
		defer resizing.Unlock()
		if rows, cols := size(); rows > 0 && cols > 0 {
			_ = process.Resize(rows, cols) // fails where the command is over
		}
	}
	if s.resized {
		s.wg.Go(resize)
	}
	s.wg.Go(func() {
		interrupts := 0
		for {
			select {
			case <-s.ended:
				return
			case caught := <-s.caught:
				// Sending waits for a guest that does not read: giving up must not.
				switch caught {
				case unix.SIGPIPE:
				case unix.SIGWINCH:
					s.wg.Go(resize)
				default:
					if caught != unix.SIGUSR1 && caught != unix.SIGUSR2 {
						interrupts++
					}
					if interrupts >= interruptsToGiveUp {
						giveUp(errGivenUp)
					}
					s.wg.Go(func() { _ = process.Signal(caught.(syscall.Signal)) })
				}
			}
		}
	})
}

func (s *signals) stop() {
	signal.Stop(s.caught)
	close(s.ended)
	s.wg.Wait()
}
