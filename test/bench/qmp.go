package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// qmp is a QEMU Machine Protocol connection (QEMU's docs/interop/qmp-spec): one command at a time.
type qmp struct {
	r      *bufio.Reader
	w      io.Writer
	events []qmpMessage // that came while a reply was awaited
}

type qmpMessage struct {
	Greeting *json.RawMessage `json:"QMP"`
	Return   *json.RawMessage `json:"return"`
	Error    *struct{ Desc string }
	Event    string
	Data     struct{ Status string }
}

// newQMP takes the greeting and leaves the mode in which nothing but capabilities is negotiated.
func newQMP(r io.Reader, w io.Writer) (*qmp, error) {
	q := &qmp{r: bufio.NewReader(r), w: w}
	m, err := q.read()
	if err == nil && m.Greeting == nil {
		err = errors.New("QMP: no greeting")
	}
	if err != nil {
		return nil, err
	}
	return q, q.do("qmp_capabilities", nil)
}

func (q *qmp) read() (m qmpMessage, err error) {
	line, err := q.r.ReadBytes('\n')
	if err != nil {
		return m, fmt.Errorf("QMP: connection lost: %w", err)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("QMP: %q: %w", line, err)
	}
	return m, nil
}

// do runs a command whose reply says nothing but that it was done.
func (q *qmp) do(command string, arguments map[string]any) error {
	_, err := q.ask(command, arguments)
	return err
}

// ask runs a command to its reply.
func (q *qmp) ask(command string, arguments map[string]any) (json.RawMessage, error) {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(q.w).Encode(request); err != nil {
		return nil, fmt.Errorf("QMP: %s: %w", command, err)
	}
	for {
		m, err := q.read()
		switch {
		case err != nil:
			return nil, err
		case m.Error != nil:
			return nil, fmt.Errorf("QMP: %s: %s", command, m.Error.Desc)
		case m.Return != nil:
			return *m.Return, nil
		case m.Event != "":
			q.events = append(q.events, m)
		}
	}
}

// enable sets migration capabilities.
func (q *qmp) enable(names ...string) error {
	var list []map[string]any
	for _, name := range names {
		list = append(list, map[string]any{"capability": name, "state": true})
	}
	return q.do("migrate-set-capabilities", map[string]any{"capabilities": list})
}

// migrate sends the machine to uri, and returns when all of it is there. The capability "events" must be on.
func (q *qmp) migrate(uri string) error {
	if err := q.do("migrate", map[string]any{"uri": uri}); err != nil {
		return err
	}
	for {
		for _, m := range q.events {
			if m.Event == "MIGRATION" && (m.Data.Status == "completed" || m.Data.Status == "failed") {
				q.events = nil
				if m.Data.Status == "failed" {
					return errors.New("QMP: migration failed")
				}
				return nil
			}
		}
		m, err := q.read()
		if err != nil {
			return err
		}
		q.events = append(q.events[:0], m)
	}
}

// statusInterval is how often awaitStatus asks.
const statusInterval = 20 * time.Millisecond

// awaitStatus waits until the machine is in a state (QEMU's RunState), for the changes of which there is no event.
func (q *qmp) awaitStatus(ctx context.Context, want string) error {
	for {
		reply, err := q.ask("query-status", nil)
		if err != nil {
			return err
		}
		var now struct{ Status string }
		if err := json.Unmarshal(reply, &now); err != nil {
			return fmt.Errorf("QMP: query-status: %w", err)
		}
		if now.Status == want {
			return nil
		}
		select {
		case <-time.After(statusInterval):
		case <-ctx.Done():
			return fmt.Errorf("QMP: machine is %s, not %s: %w", now.Status, want, ctx.Err())
		}
	}
}
