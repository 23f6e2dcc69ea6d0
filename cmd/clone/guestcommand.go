package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"clone/internal/agent"
)

// guestCommand is a command to be run in a guest with this process's standard input and outputs: by clone exec, and by
// clone fork as a function call.
type guestCommand struct {
	command     agent.Command
	interactive bool
	answered    func() // called when the command has said or done something; may be nil
}

// commandFlags are the flags that add makes.
var commandFlags = []string{"interactive", "tty", "env", "workdir", "user"}

func (g *guestCommand) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&g.interactive, "interactive", "i", false, "pass standard input on even where it is a terminal")
	flags.BoolVarP(&g.command.TTY, "tty", "t", false, "give the command a terminal")
	flags.StringArrayVarP(&g.command.Env, "env", "e", nil, "set an environment variable: KEY=VALUE, or KEY with the value it has here")
	flags.StringVarP(&g.command.Dir, "workdir", "w", "", "working directory, an absolute path in the guest")
	flags.StringVarP(&g.command.User, "user", "u", "", "user: NAME, UID, NAME:GROUP or UID:GID (default root)")
}

// with is the request for one command, with the environment that it gets.
func (g guestCommand) with(args []string) guestCommand {
	g.command.Args = slices.Clone(args)
	g.command.Env = environment(g.command, os.LookupEnv)
	return g
}

// environment is the variables a command gets: the ones asked for, and the type of the terminal it writes to.
func environment(command agent.Command, lookup func(string) (string, bool)) []string {
	var env []string
	if value, ok := lookup("TERM"); ok && command.TTY {
		env = append(env, "TERM="+value)
	}
	for _, kv := range command.Env {
		if strings.Contains(kv, "=") {
			env = append(env, kv)
		} else if value, ok := lookup(kv); ok {
			env = append(env, kv+"="+value)
		}
	}
	return env
}

// runInGuest runs a command and returns its exit status. Signals go to it; the third that should end it ends the waiting.
func runInGuest(ctx context.Context, client *agent.Client, g guestCommand, signals *signals) (status int, err error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	command := g.command
	command.Stdout, command.Stderr = g.output(os.Stdout), g.output(os.Stderr)
	tty := term.IsTerminal(int(os.Stdin.Fd()))
	if g.interactive || command.TTY || !tty {
		command.Stdin = os.Stdin
	}
	if command.TTY && tty {
		restore, err := rawTerminal(os.Stdin)
		if err != nil {
			return 0, err
		}
		defer restore()
		command.Rows, command.Cols = windowSize(os.Stdin)
	}
	// A guest that does not read holds up the request itself: until it is out, a signal has nobody to go to.
	started := signals.endBefore(func() { giveUp(errGivenUp) })
	process, err := client.Exec(ctx, command)
	if came := started(); came != nil {
		if err == nil {
			_, _ = process.Wait() // hung up, with its context
		}
		return 128 + int(came.(syscall.Signal)), nil
	}
	if err != nil {
		return 0, err
	}
	signals.forward(process, func() (rows, cols uint16) { return windowSize(os.Stdin) }, giveUp)
	status, err = process.Wait()
	if g.answered != nil && err == nil {
		g.answered()
	}
	switch {
	case err == nil:
		return status, nil
	case errors.Is(context.Cause(ctx), errGivenUp):
		return 128 + int(unix.SIGINT), nil
	case errors.Is(err, unix.EPIPE) && client.Err() == nil: // else it is the connection to the guest that broke
		return 128 + int(unix.SIGPIPE), nil // whoever read our output has gone, and knows it
	}
	return 0, err
}

// output is where the command's output goes.
func (g guestCommand) output(to io.Writer) io.Writer {
	if g.answered == nil {
		return to
	}
	return answer{to, g.answered}
}

// answer tells of what is written.
type answer struct {
	io.Writer
	came func()
}

func (a answer) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	a.came()
	return n, err
}
