package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"clone/internal/testhost"
)

const (
	hostMemoryMiB = 6144 // of an emulated host: ten machines or a hundred forks, and on its tmpfs the templates
	hostTimeout   = 90 * time.Minute
)

// line is what the program on the KVM host prints: one JSON object a line, each with one of these.
type line struct {
	Machine *Machine `json:",omitempty"`
	Row     *Row     `json:",omitempty"`
	Curves  []curve  `json:",omitempty"` // of the picture
}

// result is what one part found.
type result struct {
	machine Machine
	rows    []Row
	curves  []curve
}

// take keeps what a line says.
func (r *result) take(l line) error {
	if l.Machine != nil {
		r.machine = *l.Machine
	}
	if l.Row != nil {
		r.rows = append(r.rows, *l.Row)
	}
	r.curves = append(r.curves, l.Curves...)
	return nil
}

// guestBench measures a part with guests here, or, where this machine is no KVM host, runs this program once more in an
// emulated one.
func guestBench(ctx context.Context, part string) (r result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hostTimeout, testhost.ErrTimeout)
	defer cancel()
	if choice := testhost.Detect(); choice.Direct {
		fmt.Fprintf(os.Stderr, "running on %s\n", choice)
		r.machine = thisMachine("KVM host")
		return r, insideBench(ctx, part, false, r.take)
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := collect(read, r.take)
		read.CloseWithError(err) // a host that talks nonsense ends
		done <- err
	}()
	status, err := testhost.Run(ctx, testhost.Config{
		Command: []string{self, "-inside", part}, MemoryMiB: hostMemoryMiB,
		Stdout: write, Stderr: os.Stderr, Log: os.Stderr,
	})
	write.Close()
	collectErr := <-done
	r.machine.Name = "emulated host"
	if err == nil && status != 0 {
		err = fmt.Errorf("the program in the emulated host ended with status %d", status)
	}
	return r, errors.Join(err, collectErr)
}

// collect reads lines to their end.
func collect(r io.Reader, take func(line) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if err := take(l); err != nil {
			return err
		}
	}
	return lines.Err()
}
