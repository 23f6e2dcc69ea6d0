package agent

import (
	"context"
	"fmt"

	"clone/internal/agentproto"
)

// hello is what this program says of itself.
var hello = agentproto.Hello{
	Version: agentproto.Version, MinVersion: agentproto.MinVersion, Program: "clone",
}

// Hello asks the agent who it is: a check that it still answers.
func (c *Client) Hello(ctx context.Context) (agentproto.Hello, error) {
	return ask[agentproto.Hello](ctx, c, hello)
}

// Agent is what the agent said of itself when the connection was made.
func (c *Client) Agent() agentproto.Hello { return c.hello }

func (c *Client) greet(ctx context.Context) error {
	h, err := c.Hello(ctx)
	if err != nil {
		return err
	}
	if _, ok := agentproto.Agree(hello, h); !ok {
		return fmt.Errorf("%w: it speaks %d to %d, this program %d to %d; use the clone that made the guest, or make it anew",
			ErrVersion, h.MinVersion, h.Version, agentproto.MinVersion, agentproto.Version)
	}
	c.hello = h
	return nil
}

// ApplyIdentity makes the guest itself, before anything else is asked of it.
// The error is not nil when the guest may not be used; the Ack then still says
// what was done, if the agent got that far.
func (c *Client) ApplyIdentity(ctx context.Context, id agentproto.Identity) (agentproto.Ack, error) {
	if err := id.Validate(); err != nil {
		return agentproto.Ack{}, err
	}
	ack, err := ask[agentproto.Ack](ctx, c, id)
	if err != nil {
		return agentproto.Ack{}, err
	}
	return ack, ack.Err()
}

// AddEntropy mixes 16 to 512 bytes into the guest's random number generator and
// reseeds it.
func (c *Client) AddEntropy(ctx context.Context, seed []byte) error {
	if len(seed) < 16 || len(seed) > 512 {
		return fmt.Errorf("entropy of %d bytes; 16 to 512 are taken", len(seed))
	}
	return c.do(ctx, agentproto.Entropy{Seed: seed})
}

// Sync writes the guest's file systems back.
func (c *Client) Sync(ctx context.Context) error { return c.do(ctx, agentproto.Sync{}) }

// Shutdown begins the end of the guest; it returns before that. With force
// nobody in the guest is asked.
func (c *Client) Shutdown(ctx context.Context, mode agentproto.ShutdownMode, force bool) error {
	return c.do(ctx, agentproto.Shutdown{Mode: mode, Force: force})
}

// BindDevice binds a virtio-mmio device slot that was filled after the guest
// booted; device is its name in the guest's /sys/bus/platform/devices.
func (c *Client) BindDevice(ctx context.Context, device string) error {
	if !agentproto.ValidDevice(device) {
		return fmt.Errorf("not the name of a platform device: %q", device)
	}
	return c.do(ctx, agentproto.Bind{Driver: agentproto.VirtioMMIO, Device: device})
}

// Stats asks how the guest is. All of it is what the guest says.
func (c *Client) Stats(ctx context.Context) (agentproto.StatsReply, error) {
	return ask[agentproto.StatsReply](ctx, c, agentproto.Stats{})
}

func (c *Client) do(ctx context.Context, m agentproto.Message) error {
	_, err := ask[agentproto.OK](ctx, c, m)
	return err
}
