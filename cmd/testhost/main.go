// Command testhost runs a command on a machine with a complete KVM: this one, or
// an emulated host where this one has no hardware KVM. See package testhost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"clone/internal/testhost"
	"clone/internal/testhost/inside"
)

const usage = `usage: testhost run [flags] -- COMMAND [ARG]...   run a command on a KVM host ("testhost run -h" for flags)
       testhost kernel [--version V]              fetch a Debian cloud kernel, print its directory
       testhost check                             say where commands run on this machine, and why

Exit status of run: the command's; 124 when the deadline passed; 125 when the
host failed, or nothing was started; 130 when interrupted.
`

// Exit statuses that are not the command's own, as timeout(1) has them.
const (
	exitUsage       = 2
	exitTimeout     = 124
	exitHostFailed  = 125
	exitInterrupted = 130
)

func main() {
	if inside.IsInit() {
		inside.Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := dispatch(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

func dispatch(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, []string) int{
		"run":    run,
		"kernel": kernel,
		"check":  check,
	}
	if len(args) > 0 {
		if command, ok := commands[args[0]]; ok {
			return command(ctx, args[1:])
		}
	}
	fmt.Fprint(os.Stderr, usage)
	return exitUsage
}

// run is "testhost run".
func run(ctx context.Context, args []string) int {
	cfg, err := parseRun(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testhost run:", err)
		return exitUsage
	}
	exit, err := testhost.Run(ctx, cfg)
	switch {
	case err == nil:
		return exit
	case errors.Is(err, testhost.ErrTimeout):
		exit = exitTimeout
	case ctx.Err() != nil:
		exit = exitInterrupted
	default:
		exit = exitHostFailed
	}
	fmt.Fprintln(os.Stderr, "testhost:", err)
	return exit
}

// parseRun makes a Config of the arguments of "testhost run". Help and complaints
// about flags go to help.
func parseRun(args []string, help io.Writer) (testhost.Config, error) {
	cfg := testhost.Config{Stdout: os.Stdout, Stderr: os.Stderr, Log: prefixed{os.Stderr}}
	fs := flag.NewFlagSet("testhost run", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.IntVar(&cfg.MemoryMiB, "mem", testhost.DefaultMemoryMiB, "memory of the emulated host in `MiB`")
	fs.DurationVar(&cfg.Timeout, "timeout", 0, "end everything after this `duration`, the host's boot included; 0: never")
	fs.BoolVar(&cfg.Emulated, "emulated", false, "use the emulated host even where hardware would do")
	stdin := fs.Bool("stdin", false, "pass standard input on (otherwise it is empty)")
	repeated := func(list *[]string, name, help string) {
		fs.Func(name, help+"; may be repeated", func(s string) error { *list = append(*list, s); return nil })
	}
	repeated(&cfg.Writable, "writable", "let changes below this `directory` reach this machine, as those below the current one do")
	repeated(&cfg.QEMUArgs, "qemu-arg", "one more `argument` for QEMU, such as a device to pass through")
	repeated(&cfg.Env, "env", "set `KEY=VALUE` for the command, beside PATH, HOME, GO* and CLONE_*")
	if err := fs.Parse(args); err != nil {
		return cfg, err
	}
	if *stdin {
		cfg.Stdin = os.Stdin
	}
	cfg.Command = fs.Args()
	if len(cfg.Command) == 0 {
		return cfg, errors.New("no command given: testhost run [flags] -- COMMAND [ARG]...")
	}
	return cfg, nil
}

// kernel is "testhost kernel".
func kernel(ctx context.Context, args []string) int {
	fs := flag.NewFlagSet("testhost kernel", flag.ContinueOnError)
	version := fs.String("version", "6.12", fmt.Sprintf("kernel `version`, one of %q", testhost.KernelVersions))
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprint(os.Stderr, usage)
		return exitUsage
	}
	cache, err := testhost.CacheDir()
	if err == nil {
		var dir string
		if dir, err = testhost.FetchKernel(ctx, cache, *version, prefixed{os.Stderr}); err == nil {
			fmt.Println(dir)
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "testhost:", err)
	return 1
}

// check is "testhost check". Both answers are good ones: its exit status is 0.
func check(context.Context, []string) int {
	fmt.Println("commands run in", testhost.Detect())
	return 0
}

// prefixed puts the program's name before each write.
type prefixed struct{ w io.Writer }

func (p prefixed) Write(b []byte) (int, error) {
	_, err := fmt.Fprintf(p.w, "testhost: %s", b)
	return len(b), err
}
