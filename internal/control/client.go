package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Client talks to one VM's control socket. It holds no connection between calls. An error wraps ErrGone where the VM's
// process has ended, and is an *Error where the VM answered with one.
type Client struct{ http http.Client }

// maxAnswer bounds what a VM, which may be compromised, can make its caller hold.
const maxAnswer = 1 << 20 // bytes

const dialTimeout = 5 * time.Second

// NewClient makes a client for the control socket at this path. It does not connect yet.
func NewClient(socket string) *Client {
	dialer := net.Dialer{Timeout: dialTimeout}
	return &Client{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Info asks the VM what it is.
func (c *Client) Info(ctx context.Context) (info Info, err error) {
	return info, c.call(ctx, http.MethodGet, "/v1/vm", nil, &info)
}

// Snapshot stores the VM as a template. The VM gives the snapshot up when ctx ends.
func (c *Client) Snapshot(ctx context.Context, req SnapshotRequest) (result SnapshotResult, err error) {
	return result, c.call(ctx, http.MethodPost, "/v1/vm/snapshot", req, &result)
}

// Shutdown stops the VM, and returns when its guest has stopped.
func (c *Client) Shutdown(ctx context.Context, req ShutdownRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/vm/shutdown", req, nil)
}

// PowerButton presses the VM's ACPI power button.
func (c *Client) PowerButton(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/vm/power-button", nil, nil)
}

// Pause stops the VM's processors.
func (c *Client) Pause(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/vm/pause", nil, nil)
}

// Resume lets them run again.
func (c *Client) Resume(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/vm/resume", nil, nil)
}

// Console attaches to the VM's serial port: what it printed lately, then what it prints. Read returns io.EOF when the VM
// has ended. Close detaches. The stream ends when ctx does.
func (c *Client) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://vm"+consolePath, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", consoleProtocol)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, explain(err)
	}
	if stream, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		return consoleStream{stream}, nil
	}
	defer res.Body.Close()
	return nil, explain(answerOf(res, nil))
}

// consoleStream is a console whose VM may be killed: the kernel then resets the connection where something was typed that
// the VM had not read (unix(7)). That is an end like any other.
type consoleStream struct{ io.ReadWriteCloser }

func (s consoleStream) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	if errors.Is(err, syscall.ECONNRESET) {
		err = io.EOF
	}
	return n, err
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://vm"+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return explain(err)
	}
	defer res.Body.Close()
	return explain(answerOf(res, out))
}

// answerOf reads the VM's answer into out, where that is not nil, or as an *Error.
func answerOf(res *http.Response, out any) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(b) > maxAnswer:
		return fmt.Errorf("the VM's answer is longer than %d bytes", maxAnswer)
	case res.StatusCode != http.StatusOK:
		e := &Error{Status: res.StatusCode}
		if json.Unmarshal(b, e) != nil || e.Message == "" {
			e.Message = "the VM answered " + res.Status
		}
		return e
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the VM's answer: %w", err)
	}
	return nil
}

// explain says what a broken connection means to a user.
func explain(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the made-up URL
	}
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &op) && op.Op == "dial" && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the VM has no control socket: it is only just starting, or ending: %w", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens on its control socket", ErrGone)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: its process ended during the call", ErrGone)
	}
	return err
}
