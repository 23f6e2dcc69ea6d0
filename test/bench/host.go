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
	hostMemoryMiB = 6144 // of an emulated host: ten forks, and on its tmpfs two templates of QEMU's and one of ours
	hostTimeout   = 25 * time.Minute
)

// line is what the program on the KVM host prints: one JSON object a line, each with one of these.
type line struct {
	Machine *Machine `json:",omitempty"`
	Row     *Row     `json:",omitempty"`
}

// guestBench measures guests here, or, where this machine is no KVM host, runs this program once more in an emulated one.
func guestBench(ctx context.Context) (m Machine, rows []Row, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hostTimeout, testhost.ErrTimeout)
	defer cancel()
	if choice := testhost.Detect(); choice.Direct {
		fmt.Fprintf(os.Stderr, "running on %s\n", choice)
		err = insideBench(ctx, func(r Row) error { rows = append(rows, r); return nil })
		return thisMachine("KVM host"), rows, err
	}
	self, err := os.Executable()
	if err != nil {
		return m, nil, err
	}
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := collect(read, &m, &rows)
		read.CloseWithError(err) // a host that talks nonsense ends
		done <- err
	}()
	status, err := testhost.Run(ctx, testhost.Config{
		Command: []string{self, "-inside"}, MemoryMiB: hostMemoryMiB,
		Stdout: write, Stderr: os.Stderr, Log: os.Stderr,
	})
	write.Close()
	collectErr := <-done
	m.Name = "emulated host"
	if err == nil && status != 0 {
		err = fmt.Errorf("the program in the emulated host ended with status %d", status)
	}
	return m, rows, errors.Join(err, collectErr)
}

func collect(r io.Reader, m *Machine, rows *[]Row) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if l.Machine != nil {
			*m = *l.Machine
		}
		if l.Row != nil {
			*rows = append(*rows, *l.Row)
		}
	}
	return lines.Err()
}
